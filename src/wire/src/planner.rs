//! What goes to the planner and what comes back: one JSON object each way, then both ends close.
//!
//! Local and kept archives travel beside the question as descriptors (`SCM_RIGHTS`), in the order of
//! [`Question::archives`]; the planner never gets a path.

use backstep_core::{ArchiveSource, Digest, ErrorCode, Failure, PackageName, Plan, Request, TransactionId};
use serde::{Deserialize, Serialize};

use crate::plan::WirePlan;
use crate::request::WireRequest;
use crate::{WireError, bytes_of, check_version, json, text};

const VERSION: u32 = 1;

/// What the planner is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// For which transaction.
    pub transaction: TransactionId,
    /// The request.
    pub request: Request,
    /// SHA-256 of the request's bytes.
    pub request_digest: Digest,
    /// Archives passed as descriptors: where from, SHA-256, and bytes.
    pub archives: Vec<(ArchiveSource, Digest, u64)>,
    /// Packages that a request for the whole system leaves as they are.
    pub leave_out: Vec<PackageName>,
    /// For a rollback: what the transaction to undo did.
    pub revert: Option<Revert>,
    /// For a rollback that undoes later ones, too: what they did, the newest first.
    pub later: Vec<Revert>,
}

/// What the planner needs to know of the transaction that is to be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revert {
    /// Its plan: the planner inverts its items and marks.
    pub plan: Plan,
    /// Digest of dpkg's status file and apt's marks right after its commit, when its capture is complete. While
    /// the system still has this digest, files can be put back as they were; otherwise packages must change.
    pub world_after: Option<Digest>,
}

/// What the planner answers: a plan, or why there is none.
pub type Answer = Result<Plan, Failure>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireQuestion {
    version: u32,
    #[serde(with = "text")]
    transaction: TransactionId,
    request: WireRequest,
    #[serde(with = "text")]
    request_digest: Digest,
    archives: Vec<WireSource>,
    leave_out: Vec<WireName>,
    revert: Option<WireRevert>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    later: Vec<WireRevert>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct WireName(#[serde(with = "text")] PackageName);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSource {
    #[serde(with = "text")]
    source: ArchiveSource,
    #[serde(with = "text")]
    sha256: Digest,
    size: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRevert {
    plan: WirePlan,
    #[serde(with = "text::option")]
    world_after: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum WireAnswer {
    Plan(Box<WirePlan>),
    Failure {
        #[serde(with = "text")]
        code: ErrorCode,
        text: String,
    },
}

/// The bytes of a question.
#[must_use]
pub fn question_to_bytes(question: &Question) -> Vec<u8> {
    bytes_of(&WireQuestion {
        version: VERSION,
        transaction: question.transaction,
        request: (&question.request).into(),
        request_digest: question.request_digest,
        archives: question
            .archives
            .iter()
            .map(|(source, sha256, size)| WireSource { source: *source, sha256: *sha256, size: *size })
            .collect(),
        leave_out: question.leave_out.iter().cloned().map(WireName).collect(),
        revert: question.revert.as_ref().map(wire_revert),
        later: question.later.iter().map(wire_revert).collect(),
    })
}

fn wire_revert(revert: &Revert) -> WireRevert {
    WireRevert { plan: (&revert.plan).into(), world_after: revert.world_after }
}

/// Reads a question back.
pub fn question_from_bytes(bytes: &[u8]) -> Result<Question, WireError> {
    let wire: WireQuestion = json("question", bytes)?;
    check_version("question", wire.version, VERSION)?;
    let revert = |r: WireRevert| Ok::<_, WireError>(Revert { plan: r.plan.check()?, world_after: r.world_after });
    Ok(Question {
        transaction: wire.transaction,
        request: wire.request.check()?,
        request_digest: wire.request_digest,
        archives: wire.archives.into_iter().map(|a| (a.source, a.sha256, a.size)).collect(),
        leave_out: wire.leave_out.into_iter().map(|name| name.0).collect(),
        revert: wire.revert.map(revert).transpose()?,
        later: wire.later.into_iter().map(revert).collect::<Result<_, _>>()?,
    })
}

/// The bytes of an answer.
#[must_use]
pub fn answer_to_bytes(answer: &Answer) -> Vec<u8> {
    bytes_of(&match answer {
        Ok(plan) => WireAnswer::Plan(Box::new(plan.into())),
        Err(failure) => WireAnswer::Failure { code: failure.code, text: failure.text.clone() },
    })
}

/// Reads an answer back.
pub fn answer_from_bytes(bytes: &[u8]) -> Result<Answer, WireError> {
    Ok(match json("answer", bytes)? {
        WireAnswer::Plan(plan) => Ok(plan.check()?),
        WireAnswer::Failure { code, text } => Err(Failure { code, text }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::{Kind, Options};

    #[test]
    fn questions_and_answers_keep_everything() {
        let transaction: TransactionId = "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id");
        let request = Request {
            kind: Kind::Upgrade,
            description: String::new(),
            tags: Default::default(),
            items: Vec::new(),
            archives: Vec::new(),
            reverts: None,
            retries: None,
            options: Options::default(),
        };
        let plan = Plan {
            transaction,
            kind: Kind::Upgrade,
            request: Digest([0; 32]),
            world: Digest([1; 32]),
            method: backstep_core::Method::Packages,
            options: Options::default(),
            items: Vec::new(),
            marks: Vec::new(),
            restores: Vec::new(),
            download_bytes: 0,
            warnings: Vec::new(),
        };
        let question = Question {
            transaction,
            request,
            request_digest: Digest([9; 32]),
            archives: vec![(ArchiveSource::Kept, Digest([4; 32]), 12)],
            leave_out: vec!["jq".parse().expect("name")],
            revert: Some(Revert { plan: plan.clone(), world_after: Some(Digest([5; 32])) }),
            later: vec![Revert { plan: plan.clone(), world_after: None }],
        };
        assert_eq!(question_from_bytes(&question_to_bytes(&question)).expect("read"), question);
        for answer in [Ok(plan), Err(Failure::new(ErrorCode::PackageUnknown, "no package nosuch"))] {
            assert_eq!(answer_from_bytes(&answer_to_bytes(&answer)).expect("read"), answer);
        }
    }
}
