//! What a caller asks for. A request is validated, digested and stored once, and never edited.

use crate::id::{Digest, TransactionId};
use crate::limits;
use crate::package::{Architecture, PackageId, PackageName, Version};
use crate::plan::PlanAction;
use crate::scrub::scrub;
use crate::tag::{Tag, Tags};
use crate::{ErrorCode, Failure};

closed_enum! {
    /// What a transaction is for.
    pub enum Kind("kind") {
        /// Install named packages; items may carry other actions.
        Install = "install",
        /// Remove packages, configuration files stay.
        Remove = "remove",
        /// Remove packages with their configuration files.
        Purge = "purge",
        /// Bring named installed packages to their candidate version.
        Update = "update",
        /// Bring every package to its candidate version without removing any.
        Upgrade = "upgrade",
        /// Bring every package to its candidate version, removals allowed.
        FullUpgrade = "full-upgrade",
        /// Remove packages that nothing needs any more.
        Autoremove = "autoremove",
        /// Bring named packages to an earlier version.
        Downgrade = "downgrade",
        /// Unpack and configure the installed version again.
        Reinstall = "reinstall",
        /// Keep packages at their version.
        Hold = "hold",
        /// Let held packages move again.
        Unhold = "unhold",
        /// Undo an earlier transaction.
        Rollback = "rollback",
    }
}

closed_enum! {
    /// What is asked for one package.
    pub enum ItemAction("action") {
        /// Install it, or bring it to the version given.
        Install = "install",
        /// Remove it.
        Remove = "remove",
        /// Remove it with its configuration files.
        Purge = "purge",
        /// Bring it to its candidate version; it must be installed.
        Update = "update",
        /// Bring it to an earlier version.
        Downgrade = "downgrade",
        /// Unpack and configure it again.
        Reinstall = "reinstall",
        /// Keep it at its version.
        Hold = "hold",
        /// Let it move again.
        Unhold = "unhold",
        /// Bring it back to what it was before the transaction that is undone.
        Rollback = "rollback",
    }
}

closed_enum! {
    /// How much a rollback undoes.
    pub enum Scope("scope") {
        /// One transaction as a whole.
        One = "one",
        /// One transaction and everything that changed the system after it.
        Later = "later",
        /// Some packages of one transaction.
        Part = "part",
    }
}

impl Kind {
    /// What an item of this kind does when the caller names no action; `None` where items are not taken.
    #[must_use]
    pub const fn default_action(self) -> Option<ItemAction> {
        match self {
            Self::Install => Some(ItemAction::Install),
            Self::Remove => Some(ItemAction::Remove),
            Self::Purge => Some(ItemAction::Purge),
            Self::Update => Some(ItemAction::Update),
            Self::Downgrade => Some(ItemAction::Downgrade),
            Self::Reinstall => Some(ItemAction::Reinstall),
            Self::Hold => Some(ItemAction::Hold),
            Self::Unhold => Some(ItemAction::Unhold),
            Self::Rollback => Some(ItemAction::Rollback),
            Self::Upgrade | Self::FullUpgrade | Self::Autoremove => None,
        }
    }
}

closed_enum! {
    /// What happens when a step fails.
    pub enum OnFailure("failure policy") {
        /// Undo by itself.
        Rollback = "rollback",
        /// Stop and wait for a person.
        Leave = "leave",
    }
}

closed_enum! {
    /// What a service or a required check of the administrator's own that fails after the change means.
    pub enum ServicePolicy("service policy") {
        /// Services are not looked at, and checks are not run.
        Off = "off",
        /// A warning is recorded.
        Warn = "warn",
        /// The check step fails, and with it the transaction.
        Undo = "undo",
    }
}

closed_enum! {
    /// Which configuration file wins when the administrator changed one and the package brings another.
    pub enum ConffilePolicy("conffile policy") {
        /// The administrator's file stays; the package's is put beside it.
        Keep = "keep",
        /// The package's file is taken; the administrator's is put beside it.
        Replace = "replace",
    }
}

/// One package of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestItem {
    /// What is asked.
    pub action: ItemAction,
    /// For which package.
    pub name: PackageName,
    /// Of which architecture; the planner chooses when absent.
    pub arch: Option<Architecture>,
    /// At which version; the candidate when absent.
    pub version: Option<Version>,
}

impl RequestItem {
    /// What somebody would have asked for to bring about a change that was made without us. The version that came is
    /// named; a change that brings none has none.
    #[must_use]
    pub fn for_change(package: &PackageId, change: PlanAction, to: Option<&Version>) -> Self {
        let action = match change {
            PlanAction::Install | PlanAction::Upgrade => ItemAction::Install,
            PlanAction::Downgrade => ItemAction::Downgrade,
            PlanAction::Reinstall => ItemAction::Reinstall,
            PlanAction::Remove => ItemAction::Remove,
            PlanAction::Purge => ItemAction::Purge,
            PlanAction::Hold => ItemAction::Hold,
            PlanAction::Unhold => ItemAction::Unhold,
        };
        let version = to.filter(|_| change.needs_archive()).cloned();
        Self { action, name: package.name.clone(), arch: Some(package.arch.clone()), version }
    }
}

/// A `.deb` handed over by descriptor: the daemon's own copy, identified by content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalArchive {
    /// SHA-256 of the copy.
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
}

/// Everything a caller may choose besides packages. A closed list: an unknown key is refused at the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Install recommended packages; apt's configuration decides when absent.
    pub recommends: Option<bool>,
    /// Also remove packages that are no longer needed.
    pub autoremove: bool,
    /// Accept earlier versions.
    pub allow_downgrade: bool,
    /// Accept the removal of essential or protected packages.
    pub allow_remove_essential: bool,
    /// Change packages on hold.
    pub override_hold: bool,
    /// Accept a plan of which a part cannot be undone.
    pub allow_irreversible: bool,
    /// For a rollback: undo everything that changed the system after the transaction, too.
    pub undo_later: bool,
    /// What happens when a step fails.
    pub on_failure: OnFailure,
    /// What a failing service or check means.
    pub services: ServicePolicy,
    /// Which configuration file wins.
    pub conffiles: ConffilePolicy,
    /// Seconds to wait for another program's lock on dpkg's database.
    pub lock_timeout_s: u32,
    /// Order in the queue: higher first, then by age.
    pub priority: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            recommends: None,
            autoremove: false,
            allow_downgrade: false,
            allow_remove_essential: false,
            override_hold: false,
            allow_irreversible: false,
            undo_later: false,
            on_failure: OnFailure::Rollback,
            services: ServicePolicy::Undo,
            conffiles: ConffilePolicy::Keep,
            lock_timeout_s: 120,
            priority: 0,
        }
    }
}

/// A validated request. Its bytes, not this value, are what is stored, digested and authorised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What for.
    pub kind: Kind,
    /// For people: why. May be empty.
    pub description: String,
    /// Words by which it is found again.
    pub tags: Tags,
    /// The packages named by the caller, in the caller's order.
    pub items: Vec<RequestItem>,
    /// Archives handed over with the request.
    pub archives: Vec<LocalArchive>,
    /// For a rollback: the transaction to undo.
    pub reverts: Option<TransactionId>,
    /// For a retry: the transaction that failed.
    pub retries: Option<TransactionId>,
    /// The choices.
    pub options: Options,
}

impl Request {
    /// How much is undone; none of what is no rollback.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        (self.kind == Kind::Rollback).then_some(match (self.options.undo_later, self.items.is_empty()) {
            (true, _) => Scope::Later,
            (false, true) => Scope::One,
            (false, false) => Scope::Part,
        })
    }

    /// Checks what no single field can: that items, archives and targets fit the kind and the limits.
    pub fn validate(&self) -> Result<(), Failure> {
        let malformed = |text: String| Err(Failure::new(ErrorCode::RequestMalformed, text));
        if self.items.len() > limits::MAX_ITEMS {
            return Err(Failure::new(
                ErrorCode::RequestTooLarge,
                format!("{} packages in one request, {} at most", self.items.len(), limits::MAX_ITEMS),
            ));
        }
        if self.archives.len() > limits::MAX_LOCAL_ARCHIVES {
            return Err(Failure::new(
                ErrorCode::RequestTooLarge,
                format!("{} archives in one request, {} at most", self.archives.len(), limits::MAX_LOCAL_ARCHIVES),
            ));
        }
        if self.description.len() > limits::MAX_TEXT {
            return Err(Failure::new(
                ErrorCode::RequestTooLarge,
                format!("a description of {} bytes, {} at most", self.description.len(), limits::MAX_TEXT),
            ));
        }
        if self.description.chars().any(char::is_control) {
            return malformed("a description takes no control characters".to_owned());
        }
        // What stands in the place of a secret is no tag, so the tag is not stored without it either.
        if self.tags.as_slice().iter().any(is_secret) {
            return malformed("a tag reads like a secret, and tags are kept for ever".to_owned());
        }
        match self.kind {
            Kind::Rollback if self.reverts.is_none() => return malformed("a rollback needs the transaction to undo".to_owned()),
            Kind::Rollback => {}
            _ if self.reverts.is_some() => return malformed(format!("{} undoes no transaction", self.kind)),
            _ => {}
        }
        let takes_items = self.kind.default_action().is_some();
        if !takes_items && !self.items.is_empty() {
            return malformed(format!("{} takes no package names", self.kind));
        }
        if !self.archives.is_empty() && self.kind != Kind::Install {
            return malformed(format!("{} takes no archives", self.kind));
        }
        if self.options.undo_later && (self.kind != Kind::Rollback || !self.items.is_empty()) {
            return malformed("only a rollback of whole transactions undoes later ones, too".to_owned());
        }
        if takes_items && self.kind != Kind::Rollback && self.items.is_empty() && self.archives.is_empty() {
            return malformed(format!("{} needs at least one package", self.kind));
        }
        self.validate_items()
    }

    fn validate_items(&self) -> Result<(), Failure> {
        for (position, item) in self.items.iter().enumerate() {
            let versioned = matches!(item.action, ItemAction::Install | ItemAction::Downgrade | ItemAction::Reinstall | ItemAction::Update);
            if item.version.is_some() && !versioned {
                return Err(Failure::new(ErrorCode::RequestMalformed, format!("{} {} takes no version", item.action, item.name)));
            }
            let marks = |action| matches!(action, ItemAction::Hold | ItemAction::Unhold);
            if marks(item.action) != matches!(self.kind, Kind::Hold | Kind::Unhold) {
                return Err(Failure::new(
                    ErrorCode::RequestMalformed,
                    format!("{} {} does not belong in a transaction of kind {}", item.action, item.name, self.kind),
                ));
            }
            if (item.action == ItemAction::Rollback) != (self.kind == Kind::Rollback) {
                return Err(Failure::new(
                    ErrorCode::RequestMalformed,
                    format!("{} {} does not belong in a transaction of kind {}", item.action, item.name, self.kind),
                ));
            }
            let same = |other: &&RequestItem| other.name == item.name && other.arch == item.arch;
            if self.items[..position].iter().find(same).is_some() {
                return Err(Failure::new(ErrorCode::RequestMalformed, format!("{} is named twice", item.name)));
            }
        }
        Ok(())
    }
}

fn is_secret(tag: &Tag) -> bool {
    scrub(tag.as_str()) != tag.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: Kind, items: &[(ItemAction, &str)]) -> Request {
        Request {
            kind,
            description: String::new(),
            tags: Tags::default(),
            items: items
                .iter()
                .map(|(action, name)| RequestItem { action: *action, name: name.parse().expect("name"), arch: None, version: None })
                .collect(),
            archives: Vec::new(),
            reverts: None,
            retries: None,
            options: Options::default(),
        }
    }

    #[test]
    fn mixed_actions_are_one_request() {
        let mixed = request(Kind::Install, &[(ItemAction::Install, "hello"), (ItemAction::Remove, "nano")]);
        assert_eq!(mixed.validate(), Ok(()));
    }

    #[test]
    fn what_does_not_fit_the_kind_is_refused() {
        let cases = [
            request(Kind::Install, &[]),
            request(Kind::Upgrade, &[(ItemAction::Install, "hello")]),
            request(Kind::Rollback, &[]),
            request(Kind::Install, &[(ItemAction::Hold, "hello")]),
            request(Kind::Hold, &[(ItemAction::Remove, "hello")]),
            request(Kind::Install, &[(ItemAction::Install, "hello"), (ItemAction::Remove, "hello")]),
            request(Kind::Install, &[(ItemAction::Rollback, "hello")]),
            Request { reverts: Some(target()), ..request(Kind::Rollback, &[(ItemAction::Remove, "hello")]) },
            later(request(Kind::Upgrade, &[])),
            later(Request { reverts: Some(target()), ..request(Kind::Rollback, &[(ItemAction::Rollback, "hello")]) }),
        ];
        for case in cases {
            assert_eq!(case.validate().expect_err("refused").code, ErrorCode::RequestMalformed, "{case:?}");
        }
    }

    fn target() -> TransactionId {
        "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id")
    }

    fn later(mut request: Request) -> Request {
        request.options.undo_later = true;
        request
    }

    #[test]
    fn a_rollback_undoes_one_transaction_or_later_ones_too_or_a_part() {
        let rollback = |items| Request { reverts: Some(target()), ..request(Kind::Rollback, items) };
        let part = rollback(&[(ItemAction::Rollback, "hello")]);
        for (request, scope) in [(rollback(&[]), Scope::One), (later(rollback(&[])), Scope::Later), (part, Scope::Part)] {
            assert_eq!((request.validate(), request.scope()), (Ok(()), Some(scope)));
        }
        assert_eq!(request(Kind::Upgrade, &[]).scope(), None);
    }

    #[test]
    fn a_thousand_packages_are_taken_and_one_more_is_not() {
        let names: Vec<String> = (0..=limits::MAX_ITEMS).map(|n| format!("pkg{n}")).collect();
        let items: Vec<_> = names.iter().map(|n| (ItemAction::Install, n.as_str())).collect();
        assert_eq!(request(Kind::Install, &items[..limits::MAX_ITEMS]).validate(), Ok(()));
        assert_eq!(request(Kind::Install, &items).validate().expect_err("too many").code, ErrorCode::RequestTooLarge);
    }

    #[test]
    fn descriptions_carry_no_control_characters() {
        let mut bad = request(Kind::Upgrade, &[]);
        bad.description = "a\u{1b}[31m".to_owned();
        assert_eq!(bad.validate().expect_err("refused").code, ErrorCode::RequestMalformed);
    }

    #[test]
    fn a_tag_carries_no_secret() {
        let tagged = |tag: &str| Request { tags: Tags::new(&[tag]).expect("a tag"), ..request(Kind::Upgrade, &[]) }.validate();
        for plain in ["ticket:4711", "env=prod", "token", "team/password-reset"] {
            assert_eq!(tagged(plain), Ok(()), "{plain}");
        }
        for secret in ["password=hunter22", "db-token:xq7planted27", "https://bob:xq7planted01@deb.example.org"] {
            let failure = tagged(secret).expect_err(secret);
            assert_eq!(failure.code, ErrorCode::RequestMalformed, "{secret}");
        }
    }
}
