//! What the planner says is what apt-get would do, request by request.

use crate::support::{Universe, deeds, request};
use backstep_core::{ErrorCode, Kind, Options, Request};

const INSTALLED: &str = "
    Package: base\nVersion: 1\nEssential: yes\n
    Package: prot\nVersion: 1\nProtected: yes\n
    Package: app\nVersion: 1\nDepends: lib (>= 1)\n
    Package: lib\nVersion: 1\n
    Package: tool\nVersion: 2\n
    Package: frozen\nVersion: 1\nStatus: hold ok installed\n
    Package: orphan\nVersion: 1\n
    Package: shadow\nVersion: 1\nStatus: deinstall ok config-files\n
    Package: mta-a\nVersion: 1\nProvides: mta\nConflicts: mta\n
    Package: mailer\nVersion: 1\nDepends: mta-a | mta\n
    Package: pinned\nVersion: 1\n
    Package: grows\nVersion: 1\n
    Package: left\nVersion: 1\n
    Package: right\nVersion: 1\n
    Package: epoch\nVersion: 2.0\n
    Package: docs\nVersion: 1\nArchitecture: all\n
    Package: local-only\nVersion: 1\n
    Package: autolib\nVersion: 1\n
    Package: autouser\nVersion: 1\nDepends: autolib\n
    Package: backstepd\nVersion: 1\nDepends: base\n";

const AVAILABLE: &str = "
    Package: base\nVersion: 1\nEssential: yes\n
    Package: app\nVersion: 1\nDepends: lib (>= 1)\n
    Package: app\nVersion: 2\nDepends: lib (>= 2)\n
    Package: lib\nVersion: 1\n
    Package: lib\nVersion: 2\n
    Package: tool\nVersion: 1\n
    Package: tool\nVersion: 2\n
    Package: tool\nVersion: 3\n
    Package: frozen\nVersion: 2\n
    Package: fresh\nVersion: 1\nDepends: dep-a | dep-b\nRecommends: rec\n
    Package: dep-a\nVersion: 1\n
    Package: dep-b\nVersion: 1\n
    Package: rec\nVersion: 1\n
    Package: rival\nVersion: 1\nConflicts: tool\n
    Package: broken-a\nVersion: 1\nDepends: nowhere\n
    Package: broken-b\nVersion: 1\nDepends: lib (>= 9)\n
    Package: broken-c\nVersion: 1\nDepends: frozen (>= 2)\n
    Package: broken-d\nVersion: 1\nConflicts: broken-e\n
    Package: broken-e\nVersion: 1\n
    Package: mta-b\nVersion: 1\nProvides: mta\nConflicts: mta\n
    Package: only\nVersion: 1\nProvides: virtual-one\n
    Package: many-a\nVersion: 1\nProvides: virtual-many\n
    Package: many-b\nVersion: 1\nProvides: virtual-many\n
    Package: chain-a\nVersion: 1\nDepends: chain-b\n
    Package: chain-b\nVersion: 1\nDepends: chain-c\n
    Package: chain-c\nVersion: 1\nDepends: chain-a\n
    Package: breaker\nVersion: 1\nBreaks: app (<< 2)\n
    Package: pinned\nVersion: 2\n
    Package: pinned\nVersion: 3\n
    Package: banned\nVersion: 1\n
    Package: grows\nVersion: 2\nDepends: grown\n
    Package: grown\nVersion: 1\n
    Package: left\nVersion: 2\nConflicts: right\n
    Package: epoch\nVersion: 1:1.0\n
    Package: docs\nVersion: 2\nArchitecture: all\n
    Package: needs-rec\nVersion: 1\nRecommends: nowhere\n
    Package: shadow\nVersion: 2\n
    Package: g++\nVersion: 1\n
    Package: autolib\nVersion: 2\n
    Package: autouser\nVersion: 1\nDepends: autolib\n";

const PREFERENCES: &str = "Package: pinned\nPin: version 2\nPin-Priority: 900\n\nPackage: banned\nPin: release o=Test\nPin-Priority: -1\n";

fn universe() -> Universe {
    Universe::new(AVAILABLE, INSTALLED, &["lib", "orphan", "autolib"], PREFERENCES)
}

fn with(request: Request, change: impl Fn(&mut Options)) -> Request {
    let mut request = request;
    change(&mut request.options);
    request
}

fn whole(kind: Kind) -> Request {
    request_without_items(kind)
}

fn request_without_items(kind: Kind) -> Request {
    Request { kind, ..request(Kind::Install, "") }
}

#[test]
fn possible_requests_have_apt_gets_plan() {
    use Kind as K;
    let universe = universe();
    let no_recommends = |o: &mut Options| o.recommends = Some(false);
    let autoremove = |o: &mut Options| o.autoremove = true;
    let cases: Vec<(&str, Request)> = vec![
        ("install fresh", request(K::Install, "fresh")),
        ("--no-install-recommends install fresh", with(request(K::Install, "fresh"), no_recommends)),
        ("install fresh dep-b", request(K::Install, "fresh dep-b")),
        ("install fresh dep-a-", request(K::Install, "fresh dep-a-")).without_absent_removal(),
        ("install app", request(K::Install, "app")),
        ("install app=1", request(K::Install, "app=1")),
        ("install lib", request(K::Install, "lib")),
        ("install tool=3", request(K::Install, "tool=3")),
        ("--allow-downgrades install tool=1", with(request(K::Install, "tool=1"), |o| o.allow_downgrade = true)),
        ("install rival", request(K::Install, "rival")),
        ("install rival tool-", request(K::Install, "rival tool-")),
        ("install mta-b", request(K::Install, "mta-b")),
        ("install virtual-one", request(K::Install, "virtual-one")),
        ("install chain-a", request(K::Install, "chain-a")),
        ("install breaker", request(K::Install, "breaker")),
        ("install pinned", request(K::Install, "pinned")),
        ("install pinned=3", request(K::Install, "pinned=3")),
        ("install banned=1", request(K::Install, "banned=1")),
        ("install grows", request(K::Install, "grows")),
        ("install left", request(K::Install, "left")),
        ("install epoch", request(K::Install, "epoch")),
        ("install docs", request(K::Install, "docs")),
        ("install docs:amd64", request(K::Install, "docs:amd64")),
        ("install needs-rec", request(K::Install, "needs-rec")),
        ("install shadow", request(K::Install, "shadow")),
        ("install g++", request(K::Install, "g++")),
        ("install fresh app tool-", request(K::Install, "fresh app tool-")),
        ("remove tool", request(K::Remove, "tool")),
        ("remove lib", request(K::Remove, "lib")),
        ("remove mta-a", request(K::Remove, "mta-a")),
        ("remove --auto-remove app", with(request(K::Remove, "app"), autoremove)),
        ("purge lib", request(K::Purge, "lib")),
        ("purge shadow", request(K::Purge, "shadow")),
        ("purge tool shadow", request(K::Purge, "tool shadow")),
        ("install --only-upgrade app", request(K::Update, "app")),
        ("install --only-upgrade autolib", request(K::Update, "autolib")),
        ("install --reinstall app=1", request(K::Reinstall, "app")),
        ("--allow-downgrades install tool=1", request(K::Downgrade, "tool")),
        ("upgrade", whole(K::Upgrade)),
        ("dist-upgrade", whole(K::FullUpgrade)),
        ("--ignore-hold dist-upgrade", with(whole(K::FullUpgrade), |o| o.override_hold = true)),
        ("--auto-remove dist-upgrade", with(whole(K::FullUpgrade), autoremove)),
        ("autoremove", whole(K::Autoremove)),
        ("--allow-change-held-packages install frozen", with(request(K::Install, "frozen"), |o| o.override_hold = true)),
        ("--ignore-hold install broken-c", with(request(K::Install, "broken-c"), |o| o.override_hold = true)),
        ("remove prot", with(request(K::Remove, "prot"), |o| o.allow_remove_essential = true)),
    ];
    for (arguments, request) in cases {
        let expected = universe.simulate(arguments).unwrap_or_else(|| panic!("apt-get {arguments} fails"));
        let plan = universe.ask(request).unwrap_or_else(|failure| panic!("{arguments}: {failure:?}"));
        assert_eq!(deeds(&plan), expected, "apt-get {arguments}");
    }
}

/// apt-get is told to leave a package out that is not there; for us that is an error, so both sides say less.
trait WithoutAbsentRemoval {
    fn without_absent_removal(self) -> Self;
}

impl WithoutAbsentRemoval for (&str, Request) {
    fn without_absent_removal(self) -> Self {
        let mut request = self.1;
        request.items.retain(|item| item.name.as_str() != "dep-a");
        ("install fresh", request)
    }
}

#[test]
fn impossible_requests_fail_in_both_and_are_explained() {
    use ErrorCode as E;
    use Kind as K;
    let universe = universe();
    let cases: Vec<(&str, Request, ErrorCode, &[&str])> = vec![
        ("install broken-a", request(K::Install, "broken-a"), E::DepsUnsatisfiable, &["broken-a", "nowhere"]),
        ("install broken-b", request(K::Install, "broken-b"), E::DepsUnsatisfiable, &["broken-b", "lib (>= 9)", "1 is installed"]),
        ("install broken-c", request(K::Install, "broken-c"), E::DepsUnsatisfiable, &["broken-c", "frozen", "on hold"]),
        (
            "install broken-d broken-e",
            request(K::Install, "broken-d broken-e"),
            E::DepsUnsatisfiable,
            &["broken-d", "conflicts", "broken-e"],
        ),
        ("install app lib-", request(K::Install, "app lib-"), E::DepsUnsatisfiable, &["app", "lib"]),
        ("install fresh rival tool=3", request(K::Install, "fresh rival tool=3"), E::DepsUnsatisfiable, &["rival", "tool"]),
        ("install frsh", request(K::Install, "frsh"), E::PackageUnknown, &["frsh", "did you mean fresh"]),
        ("remove nosuch", request(K::Remove, "nosuch"), E::PackageUnknown, &["nosuch"]),
        ("install tool=9", request(K::Install, "tool=9"), E::VersionUnknown, &["tool", "9", "3, 2, 1"]),
        ("install virtual-many", request(K::Install, "virtual-many"), E::PackageUnknown, &["many-a, many-b"]),
        ("install banned", request(K::Install, "banned"), E::VersionUnknown, &["banned"]),
        ("-y install frozen", request(K::Install, "frozen"), E::PackageHeld, &["frozen"]),
        ("-y install tool=1", request(K::Install, "tool=1"), E::PlanDowngrade, &["tool", "earlier"]),
        ("-y remove base", request(K::Remove, "base"), E::PlanEssential, &["base"]),
        ("-y remove prot", request(K::Remove, "prot"), E::PlanEssential, &["prot"]),
    ];
    for (arguments, request, code, words) in cases {
        assert_eq!(universe.simulate(arguments), None, "apt-get {arguments}");
        let failure = universe.ask(request).expect_err(arguments);
        assert_eq!(failure.code, code, "{arguments}: {failure}");
        for word in words {
            assert!(failure.text.contains(word), "{arguments}: {word} in {failure}");
        }
    }
}

#[test]
fn what_undoes_does_not_remove_itself() {
    let failure = universe().ask(request(Kind::Remove, "backstepd")).expect_err("refused");
    assert_eq!(failure.code, ErrorCode::DepsUnsatisfiable);
    assert!(failure.text.contains("apt-get remove backstepd"), "{failure}");
}

#[test]
fn what_apt_get_passes_over_in_silence_is_an_error() {
    let universe = universe();
    let code = |request| universe.ask(request).expect_err("refused").code;
    assert_eq!(code(request(Kind::Remove, "fresh")), ErrorCode::PackageNotInstalled);
    assert_eq!(code(request(Kind::Remove, "shadow")), ErrorCode::PackageNotInstalled);
    assert_eq!(code(request(Kind::Update, "fresh")), ErrorCode::PackageNotInstalled);
    assert_eq!(code(request(Kind::Reinstall, "fresh")), ErrorCode::PackageNotInstalled);
    assert_eq!(code(request(Kind::Reinstall, "local-only")), ErrorCode::VersionUnknown);
    assert_eq!(code(request(Kind::Downgrade, "app")), ErrorCode::VersionUnknown);
    assert_eq!(code(request(Kind::Downgrade, "tool=3")), ErrorCode::VersionUnknown);
}
