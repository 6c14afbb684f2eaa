//! The options of a request: a closed list of keys, from and to `a{sv}`.
//!
//! Invariant: [`OptionKey`] is the list; [`request_from_options`] refuses every other key by name, and
//! [`OptionsBuilder`] can write no other.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::str::FromStr;

use backstep_core::actor::Origin;
use backstep_core::request::{ConffilePolicy, OnFailure, ServicePolicy};
use backstep_core::{
    Architecture, ErrorCode, Failure, ItemAction, Kind, Options, PackageName, Request, RequestItem, Tags, TransactionId, limits,
};
use zbus::{Fd, Variant};

use crate::values::{Descriptors, OptionValue};

/// A package of a request as it travels: action or empty, `name[:arch]`, version or empty.
pub type PackageArgument = (String, String, String);

macro_rules! option_keys {
    ($($(#[$meta:meta])* $variant:ident = $text:literal,)+) => {
        /// The keys there are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OptionKey { $($(#[$meta])* $variant,)+ }

        impl OptionKey {
            /// Every key.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The key as it is spelled on the bus.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

option_keys! {
    /// `s`: the transaction's id, chosen by the client: a UUID of version 7, the idempotency key.
    Id = "id",
    /// `a(sss)`: the packages.
    Packages = "packages",
    /// `as`: words by which it is found again.
    Tags = "tags",
    /// `ah`: local archives.
    Archives = "archives",
    /// `s`: an id, `last`, `last-failed`, or `since:` and a time.
    Reverts = "reverts",
    /// `b`: install recommended packages.
    Recommends = "recommends",
    /// `b`: also remove what is no longer needed.
    Autoremove = "autoremove",
    /// `b`: accept earlier versions.
    AllowDowngrade = "allow-downgrade",
    /// `b`: accept the removal of essential packages.
    AllowRemoveEssential = "allow-remove-essential",
    /// `b`: change packages on hold.
    OverrideHold = "override-hold",
    /// `b`: accept what cannot be undone.
    AllowIrreversible = "allow-irreversible",
    /// `b`: undo everything after the transaction, too.
    UndoLater = "undo-later",
    /// `s`: an `OnFailure`.
    OnFailure = "on-failure",
    /// `s`: a `ServicePolicy`.
    Services = "services",
    /// `s`: a `ConffilePolicy`.
    Conffiles = "conffiles",
    /// `u`: seconds.
    LockTimeout = "lock-timeout",
    /// `i`: higher runs first.
    Priority = "priority",
    /// `s`: the client's name and version, a claim.
    Client = "client",
    /// `s`: `cli` or `timer`, a claim.
    Origin = "origin",
}

impl FromStr for OptionKey {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        let known = Self::ALL.iter().copied().find(|key| key.as_str() == text);
        known.ok_or_else(|| Failure::new(ErrorCode::RequestUnknownOption, format!("unknown option {:?}", clip(text))))
    }
}

/// Which transaction a rollback undoes, before the daemon looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RevertsTarget {
    /// None was named.
    #[default]
    None,
    /// This one.
    Id(TransactionId),
    /// The last one that completed and was not undone.
    Last,
    /// The last one that failed and left differences.
    LastFailed,
    /// The first one that began at this time or later, in microseconds since 1970 in UTC.
    Since(i64),
}

impl FromStr for RevertsTarget {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "last" => Ok(Self::Last),
            "last-failed" => Ok(Self::LastFailed),
            since if since.starts_with("since:") => since["since:".len()..].parse().map(Self::Since).map_err(malformed),
            id => id.parse().map(Self::Id).map_err(malformed),
        }
    }
}

/// A request as a caller sent it, each value checked for itself.
///
/// `request.archives`, `request.retries` and, for `last` and `last-failed`, `request.reverts` are for the
/// daemon to fill in; only then [`Request::validate`] can be asked.
#[derive(Debug)]
pub struct ParsedOptions {
    /// The request so far.
    pub request: Request,
    /// The id the client chose.
    pub id: Option<TransactionId>,
    /// Local archives, in the caller's order. At most [`limits::MAX_LOCAL_ARCHIVES`].
    pub fds: Vec<OwnedFd>,
    /// The client's claim of its name and version; at most 64 bytes, no control characters.
    pub client: String,
    /// The client's claim of its origin: `Cli` or `Timer`.
    pub origin: Option<Origin>,
    /// What a rollback undoes.
    pub reverts: RevertsTarget,
}

/// Reads the arguments of `CreateTransaction` and `Submit`; what the caller leaves out is as in `defaults`.
///
/// Fails with `request.unknown-option`, `request.malformed` or `request.too-large`; keys are looked at in
/// their order of spelling, so that the same request has the same error.
pub fn request_from_options(
    kind: &str,
    description: &str,
    options: HashMap<String, OptionValue>,
    defaults: &Options,
) -> Result<ParsedOptions, Failure> {
    let kind: Kind = kind.parse().map_err(malformed)?;
    let request = Request {
        kind,
        description: description.to_owned(),
        tags: Tags::default(),
        items: Vec::new(),
        archives: Vec::new(),
        reverts: None,
        retries: None,
        options: defaults.clone(),
    };
    let mut parsed =
        ParsedOptions { request, id: None, fds: Vec::new(), client: String::new(), origin: None, reverts: RevertsTarget::None };
    let mut options: Vec<_> = options.into_iter().collect();
    options.sort_by(|a, b| a.0.cmp(&b.0));
    for (key, value) in options {
        take(&mut parsed, key.parse()?, value)?;
    }
    Ok(parsed)
}

fn take(parsed: &mut ParsedOptions, key: OptionKey, value: OptionValue) -> Result<(), Failure> {
    let options = &mut parsed.request.options;
    match key {
        OptionKey::Id => parsed.id = Some(named(key, value)?),
        OptionKey::Packages => parsed.request.items = packages(parsed.request.kind, typed(key, value)?)?,
        OptionKey::Tags => parsed.request.tags = Tags::new(&typed::<Vec<String>>(key, value)?)?,
        OptionKey::Archives => parsed.fds = archives(key, value)?,
        OptionKey::Reverts => {
            parsed.reverts = typed::<String>(key, value)?.parse()?;
            if let RevertsTarget::Id(id) = parsed.reverts {
                parsed.request.reverts = Some(id);
            }
        }
        OptionKey::Recommends => options.recommends = Some(typed(key, value)?),
        OptionKey::Autoremove => options.autoremove = typed(key, value)?,
        OptionKey::AllowDowngrade => options.allow_downgrade = typed(key, value)?,
        OptionKey::AllowRemoveEssential => options.allow_remove_essential = typed(key, value)?,
        OptionKey::OverrideHold => options.override_hold = typed(key, value)?,
        OptionKey::AllowIrreversible => options.allow_irreversible = typed(key, value)?,
        OptionKey::UndoLater => options.undo_later = typed(key, value)?,
        OptionKey::OnFailure => options.on_failure = named(key, value)?,
        OptionKey::Services => options.services = named(key, value)?,
        OptionKey::Conffiles => options.conffiles = named(key, value)?,
        OptionKey::LockTimeout => options.lock_timeout_s = typed(key, value)?,
        OptionKey::Priority => options.priority = typed(key, value)?,
        OptionKey::Client => parsed.client = client(typed(key, value)?)?,
        OptionKey::Origin => parsed.origin = Some(origin(named(key, value)?)?),
    }
    Ok(())
}

fn typed<T: TryFrom<OptionValue>>(key: OptionKey, value: OptionValue) -> Result<T, Failure> {
    T::try_from(value).map_err(|_| malformed(format!("option {:?} has the wrong type", key.as_str())))
}

fn named<T: FromStr>(key: OptionKey, value: OptionValue) -> Result<T, Failure>
where
    T::Err: std::fmt::Display,
{
    typed::<String>(key, value)?.parse().map_err(malformed)
}

fn packages(kind: Kind, rows: Vec<PackageArgument>) -> Result<Vec<RequestItem>, Failure> {
    if rows.len() > limits::MAX_ITEMS {
        let text = format!("{} packages in one request, {} at most", rows.len(), limits::MAX_ITEMS);
        return Err(Failure::new(ErrorCode::RequestTooLarge, text));
    }
    rows.into_iter().map(|row| package(kind, row)).collect()
}

fn package(kind: Kind, (action, package, version): PackageArgument) -> Result<RequestItem, Failure> {
    let action = match action.as_str() {
        "" => kind.default_action().ok_or_else(|| malformed(format!("{kind} takes no package names")))?,
        named => named.parse::<ItemAction>().map_err(malformed)?,
    };
    let (name, arch) = package.split_once(':').map_or((package.as_str(), None), |(name, arch)| (name, Some(arch)));
    Ok(RequestItem {
        action,
        name: name.parse::<PackageName>().map_err(malformed)?,
        arch: arch.map(str::parse::<Architecture>).transpose().map_err(malformed)?,
        version: if version.is_empty() { None } else { Some(version.parse().map_err(malformed)?) },
    })
}

fn archives(key: OptionKey, value: OptionValue) -> Result<Vec<OwnedFd>, Failure> {
    let Descriptors(fds) = typed(key, value)?;
    if fds.len() > limits::MAX_LOCAL_ARCHIVES {
        let text = format!("more than {} archives in one request", limits::MAX_LOCAL_ARCHIVES);
        return Err(Failure::new(ErrorCode::RequestTooLarge, text));
    }
    Ok(fds)
}

fn client(text: String) -> Result<String, Failure> {
    if text.len() > 64 || text.chars().any(char::is_control) {
        return Err(malformed("the client's name takes at most 64 bytes and no control characters"));
    }
    Ok(text)
}

fn origin(origin: Origin) -> Result<Origin, Failure> {
    match origin {
        Origin::Cli | Origin::Timer => Ok(origin),
        Origin::Dbus | Origin::Spool | Origin::Apt | Origin::Daemon => Err(malformed(format!("a client cannot claim the origin {origin}"))),
    }
}

fn malformed(text: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::RequestMalformed, text.to_string())
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

/// What a caller chose; `None` leaves it to the daemon's configuration. See [`Options`] for the meanings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Choices {
    pub recommends: Option<bool>,
    pub autoremove: Option<bool>,
    pub allow_downgrade: Option<bool>,
    pub allow_remove_essential: Option<bool>,
    pub override_hold: Option<bool>,
    pub allow_irreversible: Option<bool>,
    pub on_failure: Option<OnFailure>,
    pub services: Option<ServicePolicy>,
    pub conffiles: Option<ConffilePolicy>,
    pub lock_timeout_s: Option<u32>,
    pub priority: Option<i32>,
}

/// Builds the options of a request; only what the caller chose is sent.
#[derive(Debug, Default)]
pub struct OptionsBuilder {
    values: HashMap<&'static str, Variant<'static>>,
}

impl OptionsBuilder {
    /// No options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn set(mut self, key: OptionKey, value: impl Into<Variant<'static>>) -> Self {
        self.values.insert(key.as_str(), value.into());
        self
    }

    fn set_some<T: Into<Variant<'static>>>(self, key: OptionKey, value: Option<T>) -> Self {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }

    /// The transaction's id.
    #[must_use]
    pub fn id(self, id: TransactionId) -> Self {
        self.set(OptionKey::Id, id.to_string())
    }

    /// The packages; nothing is sent when there are none.
    #[must_use]
    pub fn packages(self, packages: Vec<PackageArgument>) -> Self {
        if packages.is_empty() { self } else { self.set(OptionKey::Packages, packages) }
    }

    /// Words by which it is found again; nothing is sent when there are none.
    #[must_use]
    pub fn tags(self, tags: Vec<String>) -> Self {
        if tags.is_empty() { self } else { self.set(OptionKey::Tags, tags) }
    }

    /// Local archives; nothing is sent when there are none.
    #[must_use]
    pub fn archives(self, fds: Vec<OwnedFd>) -> Self {
        let fds: Vec<Fd<'static>> = fds.into_iter().map(Fd::from).collect();
        if fds.is_empty() { self } else { self.set(OptionKey::Archives, fds) }
    }

    /// What a rollback undoes.
    #[must_use]
    pub fn reverts(self, target: RevertsTarget) -> Self {
        match target {
            RevertsTarget::None => self,
            RevertsTarget::Id(id) => self.set(OptionKey::Reverts, id.to_string()),
            RevertsTarget::Last => self.set(OptionKey::Reverts, "last"),
            RevertsTarget::LastFailed => self.set(OptionKey::Reverts, "last-failed"),
            RevertsTarget::Since(at_us) => self.set(OptionKey::Reverts, format!("since:{at_us}")),
        }
    }

    /// Everything that changed the system after what a rollback undoes is undone, too.
    #[must_use]
    pub fn undo_later(self) -> Self {
        self.set(OptionKey::UndoLater, true)
    }

    /// The choices; those that were not made are left to the daemon.
    #[must_use]
    pub fn choices(mut self, choices: &Choices) -> Self {
        let flags = [
            (OptionKey::Recommends, choices.recommends),
            (OptionKey::Autoremove, choices.autoremove),
            (OptionKey::AllowDowngrade, choices.allow_downgrade),
            (OptionKey::AllowRemoveEssential, choices.allow_remove_essential),
            (OptionKey::OverrideHold, choices.override_hold),
            (OptionKey::AllowIrreversible, choices.allow_irreversible),
        ];
        for (key, flag) in flags {
            self = self.set_some(key, flag);
        }
        self.set_some(OptionKey::OnFailure, choices.on_failure.map(OnFailure::as_str))
            .set_some(OptionKey::Services, choices.services.map(ServicePolicy::as_str))
            .set_some(OptionKey::Conffiles, choices.conffiles.map(ConffilePolicy::as_str))
            .set_some(OptionKey::LockTimeout, choices.lock_timeout_s)
            .set_some(OptionKey::Priority, choices.priority)
    }

    /// The client's name and version.
    #[must_use]
    pub fn client(self, name: &str) -> Self {
        self.set(OptionKey::Client, name.to_owned())
    }

    /// The origin: `Cli` or `Timer`; the daemon refuses the others.
    #[must_use]
    pub fn origin(self, origin: Origin) -> Self {
        self.set(OptionKey::Origin, origin.as_str())
    }

    /// As the proxies take them.
    #[must_use]
    pub fn build(self) -> HashMap<&'static str, Variant<'static>> {
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::tests::arrived;

    const ID: &str = "01936b2e-7c1a-7d3e-9f10-0123456789ab";

    #[test]
    fn what_the_builder_writes_the_daemon_reads() {
        let choices = Choices {
            recommends: Some(false),
            autoremove: Some(true),
            allow_downgrade: Some(true),
            allow_remove_essential: Some(true),
            override_hold: Some(true),
            allow_irreversible: Some(true),
            on_failure: Some(OnFailure::Leave),
            services: Some(ServicePolicy::Undo),
            conffiles: Some(ConffilePolicy::Replace),
            lock_timeout_s: Some(5),
            priority: Some(-3),
        };
        let options = Options {
            recommends: Some(false),
            autoremove: true,
            allow_downgrade: true,
            allow_remove_essential: true,
            override_hold: true,
            allow_irreversible: true,
            undo_later: true,
            on_failure: OnFailure::Leave,
            services: ServicePolicy::Undo,
            conffiles: ConffilePolicy::Replace,
            lock_timeout_s: 5,
            priority: -3,
        };
        let file = std::fs::File::open("/dev/null").expect("open");
        let built = OptionsBuilder::new()
            .id(ID.parse().expect("id"))
            .packages(vec![(String::new(), "hello".into(), "2.10-3".into()), ("remove".into(), "g++:amd64".into(), String::new())])
            .tags(vec!["ticket:4711".into(), "env=prod".into()])
            .archives(vec![file.into()])
            .choices(&choices)
            .client("backstep 1")
            .origin(Origin::Cli)
            .reverts(RevertsTarget::Last)
            .undo_later()
            .build();
        assert_eq!(built.len(), OptionKey::ALL.len(), "a key nothing writes");
        let parsed = request_from_options("install", "why", arrived(&built), &Options::default()).expect("parse");
        assert_eq!(parsed.request.options, options);
        assert_eq!(parsed.id.map(|id| id.to_string()).as_deref(), Some(ID));
        assert_eq!((parsed.client.as_str(), parsed.origin, parsed.reverts), ("backstep 1", Some(Origin::Cli), RevertsTarget::Last));
        assert_eq!(parsed.fds.len(), 1);
        assert_eq!(parsed.request.tags.texts(), ["env=prod", "ticket:4711"]);
        let items: Vec<String> = parsed.request.items.iter().map(|i| format!("{} {} {:?}", i.action, i.name, i.arch.is_some())).collect();
        assert_eq!(items, ["install hello false", "remove g++ true"]);
    }

    #[test]
    fn a_time_names_what_a_rollback_undoes() {
        let built = OptionsBuilder::new().reverts(RevertsTarget::Since(-5)).build();
        let parsed = request_from_options("rollback", "", arrived(&built), &Options::default()).expect("parse");
        assert_eq!(parsed.reverts, RevertsTarget::Since(-5));
        assert_eq!("since:soon".parse::<RevertsTarget>().expect_err("no time").code, ErrorCode::RequestMalformed);
    }

    #[test]
    fn what_was_not_chosen_is_not_sent() {
        assert!(
            OptionsBuilder::new()
                .choices(&Choices::default())
                .packages(vec![])
                .tags(vec![])
                .reverts(RevertsTarget::None)
                .build()
                .is_empty()
        );
    }

    #[test]
    fn what_is_outside_the_contract_is_named() {
        let one = |key, value| arrived(&HashMap::<&str, Variant<'_>>::from([(key, value)]));
        let code = |kind, options| request_from_options(kind, "", options, &Options::default()).map(drop).expect_err("refused").code;
        assert_eq!(code("explode", HashMap::new()), ErrorCode::RequestMalformed);
        assert_eq!(code("install", one("hook", "x".into())), ErrorCode::RequestUnknownOption);
        assert_eq!(code("install", one("autoremove", "yes".into())), ErrorCode::RequestMalformed);
        assert_eq!(code("install", one("packages", "hello".into())), ErrorCode::RequestMalformed);
        assert_eq!(code("install", one("id", "1".into())), ErrorCode::RequestMalformed);
        assert_eq!(code("install", one("origin", "daemon".into())), ErrorCode::RequestMalformed);
        assert_eq!(code("rollback", one("reverts", "first".into())), ErrorCode::RequestMalformed);
        for bad in ["hello*", "-y", "./x.deb", "hello:", "~nx"] {
            let rows: Vec<PackageArgument> = vec![(String::new(), bad.into(), String::new())];
            assert_eq!(code("install", one("packages", rows.into())), ErrorCode::RequestMalformed, "{bad}");
        }
        let tagged = |tags: &[&str]| code("install", one("tags", tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>().into()));
        assert_eq!(tagged(&["Prod"]), ErrorCode::RequestMalformed);
        assert_eq!(tagged(&["a", "a"]), ErrorCode::RequestMalformed);
        assert_eq!(tagged(&["x".repeat(limits::MAX_TAG + 1).as_str()]), ErrorCode::RequestTooLarge);
        assert_eq!(tagged(&["a"; limits::MAX_TAGS + 1]), ErrorCode::RequestTooLarge);
        assert_eq!(code("install", one("tags", "prod".into())), ErrorCode::RequestMalformed);
        let many: Vec<PackageArgument> = (0..=limits::MAX_ITEMS).map(|n| (String::new(), format!("p{n}"), String::new())).collect();
        assert_eq!(code("install", one("packages", many.into())), ErrorCode::RequestTooLarge);
    }
}
