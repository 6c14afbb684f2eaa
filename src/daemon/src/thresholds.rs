//! What is said in the journal when it takes longer, or gets larger, than somebody wants to know of. Absent on purpose: doing anything
//! about it.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use backstep_core::AttemptId;

use crate::config::Thresholds;
use crate::log;

impl Thresholds {
    /// Says that a question that began then was slow, if it was; answers whether.
    pub fn asked(&self, question: &'static str, begun: Instant) -> bool {
        let took = begun.elapsed().as_millis();
        let is_slow = self.query_ms > 0 && took > u128::from(self.query_ms);
        if is_slow {
            log::slow_question(question, took);
        }
        is_slow
    }

    /// Says that the record is large, if it is; answers whether.
    pub fn grown(&self, record: &Path) -> bool {
        let mebibytes = std::fs::metadata(record).map_or(0, |file| file.len() >> 20);
        let is_large = self.record_mebibytes > 0 && mebibytes > u64::from(self.record_mebibytes);
        if is_large {
            log::large_record(mebibytes);
        }
        is_large
    }

    /// Waits for the end of an attempt; says once that it takes long, if it does.
    pub async fn attended(&self, attempt: AttemptId, end: impl Future<Output = ()>) {
        let patience = Duration::from_secs(60 * u64::from(self.attempt_minutes));
        if self.attempt_minutes == 0 {
            end.await;
        } else if waited(patience, end, || log::long_attempt(attempt, self.attempt_minutes)).await {
            tracing::info!(TRANSACTION = %attempt.transaction, "the worker of {attempt} has ended");
        }
    }
}

/// Waits for an end, and calls once when it does not come in time; answers whether it did.
async fn waited(patience: Duration, end: impl Future<Output = ()>, late: impl FnOnce()) -> bool {
    let mut end = std::pin::pin!(end);
    let is_late = tokio::time::timeout(patience, &mut end).await.is_err();
    if is_late {
        late();
        end.await;
    }
    is_late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_threshold_is_said_and_nothing_else() {
        let begun = Instant::now() - Duration::from_millis(50);
        let thresholds = |query_ms, record_mebibytes| Thresholds { query_ms, record_mebibytes, attempt_minutes: 1 };
        assert!(thresholds(10, 1).asked("a question", begun));
        assert!(!thresholds(60_000, 1).asked("a question", begun) && !thresholds(0, 1).asked("a question", begun));
        let file = tempfile::NamedTempFile::new().expect("file");
        file.as_file().set_len(3 << 20).expect("length");
        assert!(thresholds(1, 2).grown(file.path()));
        assert!(!thresholds(1, 3).grown(file.path()) && !thresholds(1, 0).grown(file.path()));
        assert!(!thresholds(1, 2).grown(Path::new("/nowhere")));
    }

    #[tokio::test]
    async fn an_end_that_does_not_come_in_time_is_waited_for_all_the_same() {
        // It ends because it was told to be late: nothing here depends on who is faster.
        let (tell, told) = tokio::sync::oneshot::channel();
        let end = async { told.await.expect("told") };
        assert!(waited(Duration::from_millis(1), end, || tell.send(()).expect("somebody waits")).await);
        assert!(!waited(Duration::from_secs(600), async {}, || panic!("it is not late")).await);
    }
}
