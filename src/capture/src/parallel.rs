//! Independent jobs on a few threads, with progress reported on the caller's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::error::Result;

/// More threads than this only wait for each other in the file system.
const MOST: usize = 4;

/// Reports how much is done of how much.
pub(crate) type OnProgress<'a> = &'a mut dyn FnMut(u64, u64);

/// Runs `work` on every job, in no order; `weigh` says how many units a job counts in the progress from `before`
/// to `total`. The first error stops the rest.
pub(crate) fn each<J: Sync, S, R: Send>(
    jobs: &[J],
    weigh: impl Fn(&J) -> u64 + Sync,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &J) -> Result<R> + Sync,
    on_progress: OnProgress<'_>,
    (before, total): (u64, u64),
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let run = |done: Sender<u64>| -> Result<Vec<R>> {
        let mut state = start();
        let mut results = Vec::new();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !stop.load(Ordering::Relaxed)) {
            let result = work(&mut state, job).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            results.push(result);
            // A receiver that is gone only means that nobody counts any more.
            done.send(weigh(job)).unwrap_or_default();
        }
        Ok(results)
    };
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        let workers: Vec<_> = (0..threads(jobs.len())).map(|_| sender.clone()).map(|done| scope.spawn(|| run(done))).collect();
        drop(sender);
        let mut done = before;
        for weight in receiver {
            done += weight;
            on_progress(done, total);
        }
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

fn threads(jobs: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.clamp(1, MOST).min(jobs.max(1))
}
