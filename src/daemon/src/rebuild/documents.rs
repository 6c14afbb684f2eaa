//! Taking the spool's documents into a record, in the order in which they were recorded first.

use backstep_core::TransactionId;
use backstep_spool::{Held, Spool};
use backstep_store::{History, NewTransaction, Retold, Store, StoreError};

/// Documents that are taken in one commit.
const BATCH: usize = 100;

/// What became of the documents.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) recorded: u64,
    pub(super) continued: u64,
    /// Those that were not taken, with the reason.
    pub(super) refused: Vec<String>,
}

impl Taken {
    /// Whether the record has anything new by it, or something was found that it cannot have.
    pub(super) fn is_news(&self) -> bool {
        self.recorded + self.continued > 0 || !self.refused.is_empty()
    }
}

/// Takes every document, or what the record lacks of it. One that cannot be taken is moved to `invalid/`.
pub(super) fn take(store: &mut Store, spool: &Spool) -> anyhow::Result<Taken> {
    let mut taken = Taken::default();
    let mut order = Vec::new();
    for id in spool.documents()? {
        match spool.read(id) {
            Ok(held) => order.push((held.events.first().map_or(0, |first| first.seq), id)),
            Err(error) => refuse(spool, id, &error.why, &mut taken)?,
        }
    }
    order.sort_unstable();
    for ids in order.chunks(BATCH) {
        let told = store.batch::<_, StoreError>(|store| Ok(ids.iter().map(|(_, id)| (*id, one(store, spool, *id))).collect::<Vec<_>>()))?;
        for (id, told) in told {
            match told {
                Ok(Retold::Recorded) => taken.recorded += 1,
                Ok(Retold::Continued) => taken.continued += 1,
                Ok(Retold::Known) => {}
                Ok(Retold::Differs) => refuse(spool, id, "the record tells it otherwise", &mut taken)?,
                Err(why) => refuse(spool, id, &why, &mut taken)?,
            }
        }
    }
    Ok(taken)
}

fn refuse(spool: &Spool, id: TransactionId, why: &str, taken: &mut Taken) -> anyhow::Result<()> {
    tracing::error!(TRANSACTION = %id, "the spool's document of {id} is not taken into the record: {why}");
    taken.refused.push(format!("{id}: {why}"));
    Ok(spool.reject(id)?)
}

fn one(store: &mut Store, spool: &Spool, id: TransactionId) -> Result<Retold, String> {
    let held = spool.read(id).map_err(|error| error.why)?;
    let plan = held.sources.plan.as_deref().map(backstep_wire::plan::from_bytes).transpose().map_err(|error| error.to_string())?;
    let plan = plan.as_ref().zip(held.sources.plan.as_deref());
    let history =
        History { new: new(&held), plan, events: &held.events, world_after: held.sources.world_after, journal: &held.sources.journal };
    store.retell(&history).map_err(|error| error.to_string())
}

fn new(held: &Held) -> NewTransaction<'_> {
    NewTransaction {
        id: held.id,
        kind: held.kind,
        request_bytes: &held.sources.request,
        request_digest: held.request_digest,
        description: &held.description,
        tags: held.tags.as_slice(),
        comment: &held.description,
        actor: &held.actor,
        at: held.created,
        priority: held.priority,
        reverts: held.reverts,
        scope: held.sources.scope,
        retries: held.retries,
    }
}
