//! `org.backstep1.Record`: what is asked of the record as a whole. Nothing here changes anything.

use std::sync::Arc;

use backstep_bus::record::{
    BackUpOptions, ChangeRow, GenerationListFilter, GenerationRow, InventoryFilter, InventoryRow, OriginRow, PackageStatisticsRow, RiskRow,
    StepStatisticsRow,
};
use backstep_bus::{BlameRow, BusError, Descriptors, UndoMaterial};
use backstep_core::access::Permission;
use backstep_core::actor::Origin;
use backstep_core::doors::Method;
use backstep_core::history::{GenerationFilter, ItemChange};
use backstep_core::package::PackageError;
use backstep_core::{Architecture, ErrorCode, Failure, PackageId, PackageName, Version, limits};
use backstep_store::{Reader, Until, Verified};
use zbus::message::Header;
use zbus::{OwnedFd, interface};

use super::owner_or;
use crate::audit;
use crate::authority::{self, Interaction};
use crate::blame::blame;
use crate::callers::Caller;
use crate::door::Visit;
use crate::explain::explain;
use crate::material;
use crate::outlet::Outlet;
use crate::restore::{Restored, plain_file, restore};
use crate::service::{Call, Service};

/// Rows of one list at most.
const MAX_ROWS: u32 = 500;
/// Changes of a file in one answer when nobody says how many.
const FOUND: u32 = 50;
/// Bytes of a path: the kernel's own limit.
const MAX_PATH: usize = 4096;
/// Changes in one answer when nobody says how many, and at most.
const CHANGES: u32 = 100;
const MAX_CHANGES: u32 = 1_000;

/// Packages in one answer.
const PACKAGES: usize = 50;

/// The record, beside the manager.
pub(super) struct RecordObject {
    pub(super) service: Arc<Service>,
}

#[interface(name = "org.backstep1.Record")]
impl RecordObject {
    #[zbus(out_args("rows"))]
    async fn explain_package(&self, package: String, #[zbus(header)] header: Header<'_>) -> Result<Vec<OriginRow>, BusError> {
        let (visit, _call) = self.begin(&header, Method::ExplainPackage).await?;
        let result = self.explained(visit.caller(), &package, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("rows"))]
    async fn find_file(&self, path: String, limit: u32, #[zbus(header)] header: Header<'_>) -> Result<Vec<BlameRow>, BusError> {
        let (visit, _call) = self.begin(&header, Method::FindFile).await?;
        let result = self.found(visit.caller(), path, limit, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("material"))]
    async fn get_undo_material(&self, #[zbus(header)] header: Header<'_>) -> Result<UndoMaterial, BusError> {
        let (visit, _call) = self.begin(&header, Method::GetUndoMaterial).await?;
        let (attempts, archives) = (self.service.attempts.clone(), self.service.archives.folder().to_owned());
        let retention = self.service.read(|manager| *manager.retention());
        visit.end(self.service.records.run(move || material::count(&attempts, &archives, &retention)).await)
    }

    #[zbus(out_args("generations"))]
    async fn list_generations(
        &self,
        filter: GenerationListFilter,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<GenerationRow>, BusError> {
        let (visit, _call) = self.begin(&header, Method::ListGenerations).await?;
        let result = self.generations(visit.caller(), filter, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("generation"))]
    async fn get_generation(&self, number: u64, #[zbus(header)] header: Header<'_>) -> Result<GenerationRow, BusError> {
        let (visit, _call) = self.begin(&header, Method::GetGeneration).await?;
        let result = self.generation(visit.caller(), number, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("changes"))]
    async fn list_changes(
        &self,
        generation: u64,
        after: u64,
        limit: u32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<ChangeRow>, BusError> {
        let (visit, _call) = self.begin(&header, Method::ListChanges).await?;
        let result = self.changes(generation, (after, limit), &header).await;
        visit.end(result)
    }

    #[zbus(out_args("packages", "next"))]
    async fn list_inventory(
        &self,
        filter: InventoryFilter,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(Vec<InventoryRow>, String), BusError> {
        let (visit, _call) = self.begin(&header, Method::ListInventory).await?;
        crate::foreign::refresh(&self.service).await;
        let result = self.inventory(visit.caller(), filter, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("statistics"))]
    async fn get_step_statistics(&self, since_us: i64, #[zbus(header)] header: Header<'_>) -> Result<Vec<StepStatisticsRow>, BusError> {
        let (visit, _call) = self.begin(&header, Method::GetStepStatistics).await?;
        let found = self.service.records.ask(move |reader| reader.step_statistics(since_us)).await;
        visit.end(found.map(|rows| rows.iter().map(StepStatisticsRow::from).collect()))
    }

    #[zbus(out_args("statistics"))]
    async fn get_package_statistics(
        &self,
        since_us: i64,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<PackageStatisticsRow>, BusError> {
        let (visit, _call) = self.begin(&header, Method::GetPackageStatistics).await?;
        let result = self.package_statistics(visit.caller(), since_us, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("risks"))]
    async fn list_risks(&self, packages: Vec<String>, #[zbus(header)] header: Header<'_>) -> Result<Vec<RiskRow>, BusError> {
        let (visit, _call) = self.begin(&header, Method::ListRisks).await?;
        let result = self.risks(visit.caller(), &packages, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("events", "hash", "redacted", "unvouched"))]
    async fn verify(&self, progress: OwnedFd, #[zbus(header)] header: Header<'_>) -> Result<(u64, String, u64, u64), BusError> {
        let (visit, _call) = self.begin(&header, Method::Verify).await?;
        let result = self.verified(progress, &header).await;
        visit.end(result.map(|Verified { events, hash, redacted, unvouched }| (events, hash.to_string(), redacted, unvouched)))
    }

    #[zbus(out_args("events"))]
    async fn export(&self, format: String, after: u64, output: OwnedFd, #[zbus(header)] header: Header<'_>) -> Result<u64, BusError> {
        let (visit, _call) = self.begin(&header, Method::Export).await?;
        let result = self.exported(&format, after, output, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("size"))]
    async fn back_up(&self, options: BackUpOptions, output: OwnedFd, #[zbus(header)] header: Header<'_>) -> Result<u64, BusError> {
        let (visit, _call) = self.begin(&header, Method::BackUp).await?;
        let result = self.backed_up(options, output, &header).await;
        visit.end(result)
    }

    #[zbus(out_args("size", "events", "hash"))]
    async fn restore(
        &self,
        options: BackUpOptions,
        backup: Descriptors,
        output: OwnedFd,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(u64, u64, String), BusError> {
        let (visit, _call) = self.begin(&header, Method::Restore).await?;
        let result = self.restored(visit.caller(), options, backup.0, output).await;
        visit.end(result.map(|Restored { verified, size }| (size, verified.events, verified.hash.to_string())))
    }
}

impl RecordObject {
    /// Lets a call in. The daemon does not end under it: the record has a thread of its own.
    async fn begin(&self, header: &Header<'_>, method: Method) -> Result<(Visit, Call), BusError> {
        let call = self.service.call();
        Ok((Visit::begin(&self.service, header, method).await?, call))
    }

    async fn explained(&self, caller: &Caller, package: &str, header: &Header<'_>) -> Result<Vec<OriginRow>, Failure> {
        let (name, arch) = named(package)?;
        let all = self.sees_all(caller, header).await?;
        let mut installed = self.service.records.installed(name.clone()).await?;
        if let (Some(arch), Some(versions)) = (&arch, installed.as_mut()) {
            versions.retain(|(other, _)| other == arch.as_str());
        }
        let asked = name.clone();
        let recorded = self.service.records.ask(move |reader| reader.provenance(&asked, arch.as_ref())).await?;
        let rows = explain(&name, &recorded, installed.as_ref(), |uid| all || uid == caller.uid);
        if rows.is_empty() {
            let text = format!("{package} is not installed, and no transaction touched it");
            return Err(Failure::new(ErrorCode::PackageNotInstalled, text));
        }
        Ok(rows)
    }

    async fn found(&self, caller: &Caller, path: String, limit: u32, header: &Header<'_>) -> Result<Vec<BlameRow>, Failure> {
        if !path.starts_with('/') || path.len() > MAX_PATH {
            return Err(Failure::new(ErrorCode::RequestMalformed, format!("a path begins with / and has at most {MAX_PATH} bytes")));
        }
        let all = self.sees_all(caller, header).await?;
        let (uid, attempts) = (caller.uid, self.service.attempts.clone());
        let limit = if limit == 0 { FOUND } else { limit.min(MAX_ROWS) } as usize;
        let look = move |reader: &Reader| Ok(blame(&attempts, reader, (&path, limit), |other| all || other == uid));
        self.service.records.ask(look).await?
    }

    async fn generations(&self, caller: &Caller, filter: GenerationListFilter, header: &Header<'_>) -> Result<Vec<GenerationRow>, Failure> {
        let all = self.sees_all(caller, header).await?;
        let mut filter = GenerationFilter::from(filter);
        filter.limit = filter.limit.min(MAX_ROWS);
        let found = self.service.records.ask(move |reader| reader.generations(filter)).await?;
        Ok(found.iter().map(|generation| seen(generation.into(), all || generation.uid == caller.uid)).collect())
    }

    async fn generation(&self, caller: &Caller, number: u64, header: &Header<'_>) -> Result<GenerationRow, Failure> {
        let all = self.sees_all(caller, header).await?;
        let found = self.service.records.ask(move |reader| reader.generation(number)).await?;
        let found = found.ok_or_else(|| unknown(number))?;
        Ok(seen(GenerationRow::from(&found), all || found.uid == caller.uid))
    }

    /// A slice of what is installed, and where the next one begins.
    async fn inventory(
        &self,
        caller: &Caller,
        filter: InventoryFilter,
        header: &Header<'_>,
    ) -> Result<(Vec<InventoryRow>, String), Failure> {
        let sees = self.sees_all(caller, header).await?;
        let limit = filter.limit.filter(|limit| *limit > 0).unwrap_or(MAX_ROWS).min(MAX_ROWS);
        let after = filter.after.unwrap_or_default();
        let mut packages = self.service.records.packages().await?.unwrap_or_default();
        packages.retain(|(package, _)| package.to_string() > after);
        packages.sort_by_key(|(package, _)| package.to_string());
        let more = packages.len() > limit as usize;
        packages.truncate(limit as usize);
        let next = packages.last().filter(|_| more).map(|(package, _)| package.to_string()).unwrap_or_default();
        let uid = caller.uid;
        let rows = self.service.records.ask(move |reader| {
            let mut rows = Vec::new();
            for (package, word) in &packages {
                let recorded = reader.provenance(&package.name, Some(&package.arch))?;
                rows.push(row_of(package, word, recorded.first().map(|of_arch| &of_arch.last), |owner| sees || owner == uid));
            }
            Ok(rows)
        });
        let mut rows = rows.await?;
        if filter.all != Some(true) {
            rows.retain(|row| row.by.as_deref().is_some_and(|by| by != "backstep" && by != "unrecorded"));
        }
        Ok((rows, next))
    }

    async fn changes(&self, generation: u64, (after, limit): (u64, u32), header: &Header<'_>) -> Result<Vec<ChangeRow>, Failure> {
        let owner = self.service.records.ask(move |reader| reader.generation_owner(generation)).await?;
        // Without such a generation the right to see all comes first, so that nobody learns how many there are.
        owner_or(&self.service, header, owner.unwrap_or(0), Some(Permission::ViewAll)).await?;
        owner.ok_or_else(|| unknown(generation))?;
        let limit = if limit == 0 { CHANGES } else { limit.min(MAX_CHANGES) };
        let found = self.service.records.ask(move |reader| reader.row_changes(generation, after, limit)).await?;
        Ok(found.into_iter().map(ChangeRow::from).collect())
    }

    async fn package_statistics(&self, caller: &Caller, since_us: i64, header: &Header<'_>) -> Result<Vec<PackageStatisticsRow>, Failure> {
        let uid = self.whose(caller, header).await?;
        let found = self.service.records.ask(move |reader| reader.package_statistics(since_us, uid, PACKAGES)).await?;
        Ok(found.into_iter().map(PackageStatisticsRow::from).collect())
    }

    async fn risks(&self, caller: &Caller, packages: &[String], header: &Header<'_>) -> Result<Vec<RiskRow>, Failure> {
        if packages.len() > limits::MAX_ITEMS {
            let text = format!("{} packages in one question, {} at most", packages.len(), limits::MAX_ITEMS);
            return Err(Failure::new(ErrorCode::RequestTooLarge, text));
        }
        let asked = packages.iter().map(|text| versioned(text)).collect::<Result<Vec<_>, _>>()?;
        let uid = self.whose(caller, header).await?;
        let found = self.service.records.ask(move |reader| reader.risks(&asked, uid)).await?;
        Ok(found.into_iter().map(RiskRow::from).collect())
    }

    async fn verified(&self, progress: OwnedFd, header: &Header<'_>) -> Result<Verified, Failure> {
        let outlet = self.outlet(progress, Permission::ViewAll, header).await?;
        self.service.records.with_file(move |store| audit::verify(store, outlet)).await
    }

    async fn exported(&self, format: &str, after: u64, output: OwnedFd, header: &Header<'_>) -> Result<u64, Failure> {
        let outlet = self.outlet(output, Permission::AuditExport, header).await?;
        let (format, host_id) = (format.parse::<audit::Format>()?, self.service.host_id.clone());
        self.service.records.with_file(move |store| audit::export(store, &host_id, format, after, outlet)).await
    }

    async fn backed_up(&self, options: BackUpOptions, output: OwnedFd, header: &Header<'_>) -> Result<u64, Failure> {
        let outlet = self.outlet(output, Permission::AuditExport, header).await?;
        let until = until(options)?;
        self.service.records.with_file(move |store| audit::back_up(store, until, outlet)).await
    }

    /// A backup is a database that is parsed with our rights: only root may bring one.
    async fn restored(
        &self,
        caller: &Caller,
        options: BackUpOptions,
        backup: Vec<std::os::fd::OwnedFd>,
        output: OwnedFd,
    ) -> Result<Restored, Failure> {
        only_root(caller, "only root restores a record")?;
        if backup.len() > 1 {
            return Err(Failure::new(ErrorCode::RequestMalformed, "a record is restored from one backup at most"));
        }
        let backup = backup.into_iter().next().map(plain_file).transpose()?;
        let (until, outlet) = (until(options)?, Outlet::new(output.into())?);
        self.service.records.with_file(move |store| restore(store, backup, until, outlet)).await
    }

    /// The pipe of a caller who may have what everybody did.
    async fn outlet(&self, fd: OwnedFd, needed: Permission, header: &Header<'_>) -> Result<Outlet, Failure> {
        // Owned by root: the owner's right is not enough.
        owner_or(&self.service, header, 0, Some(needed)).await?;
        Outlet::new(fd.into())
    }

    /// Whose transactions the caller may see: everybody's, or those of one user.
    async fn whose(&self, caller: &Caller, header: &Header<'_>) -> Result<Option<u32>, Failure> {
        Ok((!self.sees_all(caller, header).await?).then_some(caller.uid))
    }

    /// Whether the caller may see what others did.
    async fn sees_all(&self, caller: &Caller, header: &Header<'_>) -> Result<bool, Failure> {
        let subject = authority::subject(header)?;
        Ok(self.service.authority.check(caller, &subject, Permission::ViewAll, &[], Interaction::Refused).await.is_ok())
    }
}

/// A package with the change that made it as it is: through us, through plain apt or dpkg, or found afterwards.
fn row_of(package: &PackageId, word: &str, last: Option<&ItemChange>, visible: impl Fn(u32) -> bool) -> InventoryRow {
    let bare = InventoryRow::bare(package, word);
    let Some(last) = last.filter(|last| last.to.as_deref() == Some(bare.version.as_str())) else {
        return InventoryRow { by: Some("unrecorded".to_owned()), ..bare };
    };
    let actor = &last.summary.actor;
    if !visible(actor.uid) {
        return InventoryRow { hidden: Some(true), ..bare };
    }
    let by = match actor.origin {
        Origin::Apt if actor.client == "dpkg" => "dpkg",
        Origin::Apt => "apt",
        Origin::Daemon => "found",
        Origin::Cli | Origin::Dbus | Origin::Spool | Origin::Timer => "backstep",
    };
    bare.with(last, by)
}

fn only_root(caller: &Caller, text: &str) -> Result<(), Failure> {
    if caller.uid == 0 { Ok(()) } else { Err(Failure::new(ErrorCode::AuthDenied, text)) }
}

/// The moment that is asked for; `None` is now.
fn until(options: BackUpOptions) -> Result<Option<Until>, Failure> {
    match (options.time, options.event) {
        (None, None) => Ok(None),
        (Some(time), None) => Ok(Some(Until::Time(time))),
        (None, Some(event)) => Ok(Some(Until::Event(event))),
        (Some(_), Some(_)) => Err(Failure::new(ErrorCode::RequestMalformed, "time and event do not go together")),
    }
}

fn seen(row: GenerationRow, visible: bool) -> GenerationRow {
    if visible { row } else { row.redacted() }
}

fn versioned(text: &str) -> Result<(PackageName, Version), Failure> {
    let (name, version) = text.split_once('=').unwrap_or((text, ""));
    Ok((name.parse().map_err(malformed)?, version.parse().map_err(malformed)?))
}

fn named(text: &str) -> Result<(PackageName, Option<Architecture>), Failure> {
    let (name, arch) = text.split_once(':').map_or((text, None), |(name, arch)| (name, Some(arch)));
    Ok((name.parse().map_err(malformed)?, arch.map(str::parse).transpose().map_err(malformed)?))
}

fn malformed(error: PackageError) -> Failure {
    Failure::new(ErrorCode::RequestMalformed, error.to_string())
}

fn unknown(number: u64) -> Failure {
    Failure::new(ErrorCode::GenerationUnknown, format!("no generation has the number {number}"))
}
