//! The verbs that take their time: create, prepare, execute. Used by the objects and, later, by other fronts.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use backstep_bus::{OptionValue, ParsedOptions, RevertsTarget, request_from_options};
use backstep_core::actor::{Actor, Origin};
use backstep_core::{
    ArchiveSource, AttemptId, Digest, Direction, ErrorCode, Failure, LocalArchive, Request, TransactionId, TransactionState,
};
use backstep_engine::Manager;
use backstep_engine::manager::{Created, Question};
use backstep_wire::planner::{Answer, Revert};
use zbus_polkit::policykit1::Subject;

use crate::archives::Taken;
use crate::authority::Interaction;
use crate::callers::{self, Caller};
use crate::preferences;
use crate::reach::Asker;
use crate::rebuilt::{self, Lost};
use crate::service::Service;

/// What a request's rows and events take in the record, besides its own bytes.
const REQUEST: usize = 4 << 10;

/// Takes a request from the bus into the record.
pub async fn create(
    service: &Service,
    asker: &Asker<'_>,
    kind: &str,
    description: &str,
    options: HashMap<String, OptionValue>,
) -> Result<Created, Failure> {
    let parsed = request_from_options(kind, description, options, &service.defaults)?;
    let actor = callers::actor(asker.caller, parsed.origin.unwrap_or(Origin::Dbus), &parsed.client);
    let id = parsed.id;
    let (request, archives) = complete(service, asker, parsed).await?;
    let created = enter(service, &request, actor, id)?;
    // Of a request that is there already the archives are, too.
    if let Some(taken) = archives.filter(|_| !created.existed) {
        taken.keep().map_err(|error| Failure::new(ErrorCode::StoreFailed, format!("cannot keep an archive: {error}")))?;
    }
    Ok(created)
}

/// What a caller says of a retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryClaims {
    /// Through which door.
    pub origin: Origin,
    /// The client's name and version.
    pub client: String,
    /// The new description; the old one without.
    pub comment: Option<String>,
}

impl Default for RetryClaims {
    fn default() -> Self {
        Self { origin: Origin::Dbus, client: String::new(), comment: None }
    }
}

/// Takes the request of an ended transaction again.
pub async fn retry(service: &Service, asker: &Asker<'_>, id: TransactionId, claims: RetryClaims) -> Result<Created, Failure> {
    let mut request = service.read(|manager| manager.request_for_retry(id))?;
    asker.may_undo(service, &request).await?;
    request.description = claims.comment.unwrap_or(request.description);
    enter(service, &request, callers::actor(asker.caller, claims.origin, &claims.client), None)
}

fn enter(service: &Service, request: &Request, actor: Actor, id: Option<TransactionId>) -> Result<Created, Failure> {
    let uid = actor.uid;
    service.may_write(uid)?;
    let created = service.decide(|manager| {
        manager.expire()?;
        manager.create(request, actor, id)
    })?;
    if !created.existed {
        service.wrote(uid, REQUEST + backstep_wire::request::to_bytes(request).len());
    }
    Ok(created)
}

/// Fills in what only the daemon knows: the target that `last` stands for, and copies of archives. Checks the
/// rest first, so that a bad request, or one that there is no room for, copies nothing.
async fn complete(service: &Service, asker: &Asker<'_>, parsed: ParsedOptions) -> Result<(Request, Option<Taken>), Failure> {
    let mut request = parsed.request;
    match parsed.reverts {
        RevertsTarget::None | RevertsTarget::Id(_) => {}
        RevertsTarget::Last => request.reverts = Some(service.read(Manager::last_undoable)?),
        RevertsTarget::Since(at_us) => request.reverts = Some(service.read(|manager| manager.first_since(at_us))?),
        RevertsTarget::LastFailed => request.reverts = Some(service.read(Manager::last_failed)?),
    }
    asker.may_undo(service, &request).await?;
    if parsed.fds.is_empty() {
        request.validate()?;
        return Ok((request, None));
    }
    service.decide(Manager::expire)?;
    service.read(|manager| manager.check_room(asker.caller.uid))?;
    let waiting = waiting_bytes(service, asker.caller.uid)?;
    let taken = service.archives.take_all(asker.caller.uid, waiting, parsed.fds).await?;
    request.archives = taken.archives();
    Ok((request, Some(taken)))
}

/// Bytes of the archives that this user's unfinished requests have brought.
fn waiting_bytes(service: &Service, uid: u32) -> Result<u64, Failure> {
    let open = service.read(|manager| manager.ledger().unfinished())?;
    let own = open.iter().filter(|summary| summary.actor.uid == uid);
    let archives = own.map(|summary| archives_of(service, summary.id)).collect::<Result<Vec<_>, _>>()?;
    Ok(archives.iter().flatten().fold(0, |sum, archive| sum.saturating_add(archive.size)))
}

fn archives_of(service: &Service, id: TransactionId) -> Result<Vec<LocalArchive>, Failure> {
    let bytes = service.read(|manager| manager.ledger().request_bytes(id))?.unwrap_or_default();
    let request = backstep_wire::request::from_bytes(&bytes).map_err(|error| Failure::new(ErrorCode::StoreFailed, error.to_string()))?;
    Ok(request.archives)
}

/// Has the plan made in the background; the state says when it is there. Asking again while it is made changes
/// nothing.
pub fn prepare(service: &Arc<Service>, id: TransactionId) -> Result<(), Failure> {
    let question = service.read(|manager| manager.question(id))?;
    let Some(turn) = service.begin_plan(id) else { return Ok(()) };
    let service = Arc::clone(service);
    tokio::spawn(async move {
        plan(&service, question).await;
        drop(turn);
    });
    Ok(())
}

async fn plan(service: &Arc<Service>, question: Question) {
    let call = service.call();
    let (id, owner) = (question.id, question.owner);
    let answer = answer(service, question).await;
    if let Ok(plan) = &answer {
        // Counted as the owner's.
        service.wrote(owner, backstep_wire::plan::to_bytes(plan).len());
    }
    if let Err(failure) = service.decide(|manager| manager.planned(id, answer)) {
        tracing::error!("cannot record the plan of {id}: {failure}");
    }
    drop(call);
}

/// While a transaction changes the system, dpkg is between two states that nobody should plan from: the planner is
/// asked after it, unless nobody waits for the plan any more.
async fn answer(service: &Arc<Service>, question: Question) -> Answer {
    loop {
        let running = match service.read(changing) {
            Some(attempt) => attempt,
            None => {
                let running = service.read(Manager::running);
                let answer = ask(service, question.clone()).await;
                let running = running.or_else(|| service.read(Manager::running));
                match (&answer, running) {
                    (Err(failure), Some(attempt)) if is_of_the_moment(failure.code) => attempt,
                    (Ok(_) | Err(_), _) => return answer,
                }
            }
        };
        service.until_ended(running).await;
        service.read(|manager| manager.question(question.id))?;
    }
}

fn changing(manager: &Manager) -> Option<AttemptId> {
    let (step, direction) = manager.running_step()?;
    let changes = step.changes_system() || direction == Direction::Undo;
    changes.then(|| manager.running()).flatten()
}

/// Whether the reason may be gone when dpkg has done its work.
const fn is_of_the_moment(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::DpkgInterrupted | ErrorCode::DepsUnsatisfiable | ErrorCode::PlanFailed)
}

async fn ask(service: &Arc<Service>, question: Question) -> Answer {
    let lost = rebuilt::lost(&question, &service.archives);
    let answer = consult(service, question.clone(), &[]).await;
    if rebuilt::is_needed(&answer, &lost) { ask_again(service, question, answer, lost).await } else { answer }
}

/// Asks with archives that are made for it. Those that are all that their packages shipped come before what would be
/// downloaded; the others are better than no archive at all.
async fn ask_again(service: &Arc<Service>, question: Question, first: Answer, lost: Vec<Lost>) -> Answer {
    let (attempts, archives) = (service.attempts.clone(), service.archives.clone());
    // Whoever may ask for a plan has the daemon read and write for it: no more of that at a time than of planning.
    let permit = service.planners.take(question.owner).await?;
    let made = tokio::task::spawn_blocking(move || rebuilt::make(&lost, &attempts, &archives)).await;
    drop(permit);
    let made = made.map_err(|error| Failure::new(ErrorCode::Internal, format!("rebuilding archives failed: {error}")))?;
    let all: Vec<LocalArchive> = made.iter().map(|made| made.archive.clone()).collect();
    let whole: Vec<LocalArchive> = made.iter().filter(|made| made.is_whole()).map(|made| made.archive.clone()).collect();
    let mut answer = first;
    if !whole.is_empty() {
        answer = better(consult(service, question.clone(), &whole).await, answer);
    }
    if is_material(&answer) && all.len() > whole.len() {
        answer = consult(service, question, &all).await;
    }
    if let Ok(plan) = &mut answer {
        rebuilt::tell(plan, &made);
    }
    let used = answer.as_ref().map(rebuilt::archives_of).unwrap_or_default();
    let unused: Vec<LocalArchive> = all.into_iter().filter(|archive| !used.contains(archive)).collect();
    forget_rebuilt(service, &unused)?;
    answer
}

/// A plan is better than none, and of two reasons the later.
fn better(later: Answer, earlier: Answer) -> Answer {
    if later.is_err() && earlier.is_ok() { earlier } else { later }
}

fn is_material(answer: &Answer) -> bool {
    answer.as_ref().is_err_and(|failure| failure.code == ErrorCode::UndoMaterial)
}

async fn consult(service: &Arc<Service>, question: Question, rebuilt: &[LocalArchive]) -> Answer {
    let (leave_out, owner) = (question.held?, question.owner);
    // The planner reads what apt reads.
    preferences::refresh(service)?;
    let mut archives = service.archives.open_local(&question.request.archives)?;
    archives.extend(service.archives.open_kept(&question.wanted));
    archives.extend(service.archives.open_rebuilt(rebuilt)?);
    let (described, files): (Vec<(ArchiveSource, Digest, u64)>, Vec<File>) =
        archives.into_iter().map(|(source, sha256, size, file)| ((source, sha256, size), file)).unzip();
    let question = backstep_wire::planner::Question {
        transaction: question.id,
        request: question.request,
        request_digest: question.request_digest,
        archives: described,
        leave_out,
        revert: question.revert.map(|revert| with_what_is_kept(service, revert)),
        later: question.later.into_iter().map(|revert| with_what_is_kept(service, revert)).collect(),
    };
    let planner = service.planner.clone();
    let permit = service.planners.take(owner).await?;
    let asked = tokio::task::spawn_blocking(move || planner.ask(&question, &files)).await;
    drop(permit);
    asked.unwrap_or_else(|error| Err(Failure::new(ErrorCode::Internal, format!("asking the planner failed: {error}"))))
}

/// A transaction whose capture was given up is undone by packages, whatever the system looks like.
fn with_what_is_kept(service: &Service, revert: Revert) -> Revert {
    let is_kept = service.attempts.has_capture(revert.plan.transaction);
    Revert { world_after: revert.world_after.filter(|_| is_kept), ..revert }
}

/// Authorises the plan with this digest for this caller and queues it.
pub async fn execute(
    service: &Arc<Service>,
    caller: &Caller,
    subject: &Subject,
    id: TransactionId,
    digest: Digest,
    interaction: Interaction,
) -> Result<(), Failure> {
    let call = service.call();
    let ask = service.read(|manager| manager.ask(id, digest))?;
    let digest = digest.to_string();
    let short = id.to_string();
    let mut details = vec![("transaction", short.as_str()), ("digest", digest.as_str()), ("summary", ask.summary.as_str())];
    if !ask.local.is_empty() {
        details.push(("archives", ask.local.as_str()));
    }
    for permission in &ask.permissions {
        if let Err(failure) = service.authority.check(caller, subject, *permission, &details, interaction).await {
            service.decide(|manager| manager.denied(&ask, *permission, &failure.text))?;
            return Err(failure);
        }
    }
    let result = service.decide(|manager| manager.authorised(&ask));
    drop(call);
    result
}

/// Prepares and executes in one go, for scripts: answers when the transaction is queued, or why it is not. While
/// another transaction changes the system nothing can be planned, so then it answers at once and goes on by itself;
/// what it cannot do it records.
pub async fn submit(
    service: &Arc<Service>,
    caller: Caller,
    subject: Subject,
    id: TransactionId,
    interaction: Interaction,
) -> Result<(), Failure> {
    if service.read(changing).is_none() {
        return plan_and_execute(service, &caller, &subject, id, interaction).await;
    }
    let service = Arc::clone(service);
    tokio::spawn(async move {
        if let Err(failure) = plan_later_and_execute(&service, &caller, &subject, id, interaction).await {
            end(&service, id, &failure);
        }
    });
    Ok(())
}

/// The same as [`plan_and_execute`], for what has waited: what it would undo may be more by now.
async fn plan_later_and_execute(
    service: &Arc<Service>,
    caller: &Caller,
    subject: &Subject,
    id: TransactionId,
    interaction: Interaction,
) -> Result<(), Failure> {
    Asker { caller, subject, interaction }.may_plan(service, id).await?;
    plan_and_execute(service, caller, subject, id, interaction).await
}

/// Ends what nobody will execute any more; what has ended already stays as it is.
fn end(service: &Service, id: TransactionId, failure: &Failure) {
    let waits = |state| matches!(state, TransactionState::Created | TransactionState::Prepared);
    let ended = service.decide(|manager| match manager.ledger().summary(id)? {
        Some(summary) if waits(summary.status.state) => manager.fail(id, failure.code, &failure.text),
        Some(_) | None => Ok(()),
    });
    if let Err(error) = ended {
        tracing::error!("cannot record the end of {id}: {error}");
    }
}

async fn plan_and_execute(
    service: &Arc<Service>,
    caller: &Caller,
    subject: &Subject,
    id: TransactionId,
    interaction: Interaction,
) -> Result<(), Failure> {
    let call = service.call();
    let question = service.read(|manager| manager.question(id))?;
    let turn = service.begin_plan(id);
    plan(service, question).await;
    drop(turn);
    let record = service.read(|manager| manager.ledger().record(id))?;
    let record = record.ok_or_else(|| Failure::new(ErrorCode::Internal, "the transaction is gone"))?;
    let result = match (record.summary.status.state, record.plan_digest, record.summary.error) {
        (TransactionState::Prepared, Some(digest), _) => execute(service, caller, subject, id, digest, interaction).await,
        (_, _, Some(error)) => Err(error),
        (state, _, None) => Err(Failure::new(ErrorCode::TransactionState, format!("the transaction is {state}"))),
    };
    drop(call);
    result
}

/// Removes rebuilt archives but those that waiting plans name.
fn forget_rebuilt(service: &Service, archives: &[LocalArchive]) -> Result<(), Failure> {
    if archives.is_empty() {
        return Ok(());
    }
    let open = service.read(|manager| manager.ledger().unfinished())?;
    let wanted = open.iter().map(|summary| rebuilt_of(service, summary.id)).collect::<Result<Vec<_>, _>>()?.concat();
    service.archives.forget(archives, &wanted).map_err(|error| not_removed(&error))
}

fn rebuilt_of(service: &Service, id: TransactionId) -> Result<Vec<LocalArchive>, Failure> {
    let Some(bytes) = service.read(|manager| manager.ledger().plan_bytes(id))? else { return Ok(Vec::new()) };
    let plan = backstep_wire::plan::from_bytes(&bytes).map_err(|error| Failure::new(ErrorCode::StoreFailed, error.to_string()))?;
    Ok(rebuilt::archives_of(&plan))
}

fn not_removed(error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::StoreFailed, format!("cannot remove an archive: {error}"))
}

/// Removes what a transaction that has ended leaves: archives that were rebuilt for it, and the copies of archives of a
/// request that ended without being tried.
pub fn forget_archives(service: &Service, id: TransactionId) -> Result<(), Failure> {
    forget_rebuilt(service, &rebuilt_of(service, id)?)?;
    let summary = service.read(|manager| manager.ledger().summary(id))?;
    if summary.is_none_or(|summary| summary.status.attempts > 0) {
        return Ok(());
    }
    let archives = archives_of(service, id)?;
    if archives.is_empty() {
        return Ok(());
    }
    let open = service.read(|manager| manager.ledger().unfinished())?;
    let wanted = open.iter().map(|summary| archives_of(service, summary.id)).collect::<Result<Vec<_>, _>>()?.concat();
    service.archives.forget(&archives, &wanted).map_err(|error| not_removed(&error))
}
