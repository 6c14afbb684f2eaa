//! The manager's methods that say what is to be left alone or taken out; each is a change-set of its own.

use backstep_bus::claims::{Claims, claimed};
use backstep_bus::{
    ArchiveAnswer, ArchiveOptions, BackoffFilter, BackoffRow, IgnoreFilter, IgnoreOptions, IgnoreRow, RedactAnswer, RedactOptions,
};
use backstep_core::access::Permission;
use backstep_core::actor::Actor;
use backstep_core::backoff::{Backoff, NewBackoff};
use backstep_core::ignore::IgnoreRecord;
use backstep_core::redaction::{Redacted, Redaction};
use backstep_core::{ErrorCode, Failure};
use zbus::message::Header;

use super::manager::ManagerObject;
use super::owner_or;
use crate::archive::{KEPT, archive};
use crate::callers::{self, Caller};
use crate::forget::forget;
use crate::preferences;

/// Rows of one list at most.
const MAX_ROWS: u32 = 500;

impl ManagerObject {
    pub(super) async fn ignore(
        &self,
        (pattern, comment): (&str, &str),
        options: &IgnoreOptions,
        header: &Header<'_>,
    ) -> Result<u64, Failure> {
        let ignore = options.ignore(pattern, comment)?;
        let claims = Claims { client: options.client.clone(), origin: options.origin.clone() };
        let actor = self.holder(Permission::Ignore, &claims, header).await?;
        let number = self.service.decide(|manager| manager.ignore(ignore, actor))?;
        preferences::refresh(&self.service)?;
        Ok(number)
    }

    pub(super) async fn unignore(&self, number: u64, comment: String, claims: &Claims, header: &Header<'_>) -> Result<(), Failure> {
        let actor = self.holder(Permission::Ignore, claims, header).await?;
        self.service.decide(|manager| manager.unignore(number, comment, actor))?;
        preferences::refresh(&self.service)
    }

    pub(super) async fn ignores(&self, caller: &Caller, filter: &IgnoreFilter, header: &Header<'_>) -> Result<Vec<IgnoreRow>, Failure> {
        preferences::refresh_or_log(&self.service);
        let all = self.sees_all(caller, header).await?;
        let found = self.service.read(|manager| match filter.all {
            Some(true) => manager.ledger().all_ignores(MAX_ROWS),
            Some(false) | None => manager.live_ignores(),
        })?;
        let seen = |record: &IgnoreRecord| {
            let row = IgnoreRow::from(record);
            if all || record.uid == caller.uid { row } else { row.redacted() }
        };
        Ok(found.iter().map(seen).collect())
    }

    pub(super) async fn back_off(
        &self,
        (subject, process): (&str, &str),
        (until_us, comment): (i64, String),
        claims: &Claims,
        header: &Header<'_>,
    ) -> Result<u64, Failure> {
        let new = NewBackoff { subject: subject.parse()?, process: process.parse()?, until_us };
        let actor = self.holder(Permission::Backoff, claims, header).await?;
        self.service.decide(|manager| manager.back_off(new, comment, actor))
    }

    pub(super) async fn cleared(
        &self,
        (subject, process): (&str, &str),
        comment: String,
        claims: &Claims,
        header: &Header<'_>,
    ) -> Result<u32, Failure> {
        let subject = (!subject.is_empty()).then(|| subject.parse()).transpose()?;
        let process = (!process.is_empty()).then(|| process.parse()).transpose()?;
        let actor = self.holder(Permission::Backoff, claims, header).await?;
        self.service.decide(|manager| manager.clear_backoffs((subject, process), comment, actor))
    }

    pub(super) async fn backoffs(&self, caller: &Caller, filter: &BackoffFilter, header: &Header<'_>) -> Result<Vec<BackoffRow>, Failure> {
        let all = self.sees_all(caller, header).await?;
        let (found, now) = self.service.read(|manager| {
            let found = match filter.all {
                Some(true) => manager.ledger().all_backoffs(MAX_ROWS),
                Some(false) | None => manager.active_backoffs(),
            };
            found.map(|found| (found, manager.time()))
        })?;
        let seen = |backoff: &Backoff| {
            let row = BackoffRow::new(backoff, backoff.remaining_us(now));
            if all || backoff.uid == caller.uid { row } else { row.redacted() }
        };
        Ok(found.iter().map(seen).collect())
    }

    pub(super) async fn redacted(
        &self,
        (text, comment): (String, String),
        options: &RedactOptions,
        header: &Header<'_>,
    ) -> Result<RedactAnswer, Failure> {
        let claims = Claims { client: options.client.clone(), origin: options.origin.clone() };
        let actor = self.holder(Permission::Redact, &claims, header).await?;
        let redaction = Redaction::new(text, options.mode())?;
        let taken = redaction.clone();
        let Redacted { number, mut places, transactions } = self.service.decide(|manager| manager.redact(taken, comment, actor))?;
        let attempts = self.service.attempts.clone();
        places.extend(self.service.records.run(move || forget(&attempts, &redaction)).await?);
        Ok((number, places, transactions.iter().map(ToString::to_string).collect()))
    }

    pub(super) async fn archived(
        &self,
        caller: &Caller,
        (before_us, comment): (i64, &str),
        options: &ArchiveOptions,
    ) -> Result<ArchiveAnswer, Failure> {
        if caller.uid != 0 {
            return Err(Failure::new(ErrorCode::AuthDenied, "only root archives"));
        }
        let actor = callers::actor(caller, claimed(options.origin.as_deref())?, options.client.as_deref().unwrap_or_default());
        let all = archive(&self.service, (before_us, options.keep.unwrap_or(KEPT)), comment, &actor).await?;
        let events = all.iter().map(|archive| archive.events.1.abs_diff(archive.events.0) + 1).sum();
        Ok((all.iter().map(|archive| archive.transactions).sum(), events, all.into_iter().map(|archive| archive.file).collect()))
    }

    /// The caller as the record names them, when they may.
    async fn holder(&self, permission: Permission, claims: &Claims, header: &Header<'_>) -> Result<Actor, Failure> {
        let origin = claimed(claims.origin.as_deref())?;
        // Owned by root: nobody else does this without the permission.
        let caller = owner_or(&self.service, header, 0, Some(permission)).await?;
        Ok(callers::actor(&caller, origin, claims.client.as_deref().unwrap_or_default()))
    }
}
