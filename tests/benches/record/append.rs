//! Writing: durable events one at a time beside the file system's own rate, and many in one commit.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use backstep_core::{BootId, Event, Stamp, TransactionId};
use backstep_store::{Append, Run, Store};
use backstep_tests::large_record::working;

use crate::report::{Report, median};

/// Rounds of each, in turns, so that a busy moment touches both.
const ROUNDS: usize = 15;
const PER_ROUND: usize = 40;
const BATCH: usize = 20_000;
const BATCHES: usize = 5;

pub(crate) fn measure(folder: &Path, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir_in(folder)?;
    let path = folder.path().join("store.db");
    let mut store = Store::open(&path, &Run { id: uuid(), version: "0".to_owned(), pid: 1, at: at(0) })?;
    let id = working(&mut store)?;
    let mut peer = File::create(folder.path().join("peer"))?;
    let (mut ratios, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let theirs = rate(PER_ROUND, || {
            peer.write_all(&[7; 4096])?;
            Ok(peer.sync_all()?)
        })?;
        let mine = rate(PER_ROUND, || noted(&mut store, id, 1))?;
        ratios.push(mine / theirs);
        ours.push(mine);
    }
    report.told("durable events, one commit each", median(&ours), "a second");
    report.at_least("the same, of the file system's own rate of fsync", median(&ratios), "", 0.8, ROUNDS);
    let batches: Result<Vec<f64>> = (0..BATCHES).map(|_| rate(1, || noted(&mut store, id, BATCH))).collect();
    #[allow(clippy::cast_precision_loss)]
    report.at_least("events in batches", median(&batches?) * BATCH as f64, "a second", 20_000.0, BATCHES);
    Ok(())
}

fn rate(times: usize, mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    for _ in 0..times {
        once()?;
    }
    #[allow(clippy::cast_precision_loss)]
    Ok(times as f64 / begun.elapsed().as_secs_f64())
}

fn noted(store: &mut Store, id: TransactionId, count: usize) -> Result<()> {
    let events = vec![Event::Noted { code: None, text: "a service was restarted".to_owned() }; count];
    store.append(&Append { id, attempt: Some(1), events: &events, at: at(1), journal_seq: None, world_after: None })?;
    Ok(())
}

fn uuid() -> String {
    "01936b2e-7c1a-7d3e-9f10-aaaaaaaaaaaa".to_owned()
}

fn at(second: i64) -> Stamp {
    Stamp { utc_us: 1_700_000_000_000_000 + second, monotonic_us: second, boot: BootId([9; 16]) }
}
