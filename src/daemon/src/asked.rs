//! Questions to the bus, and to services on it, that are answered at once and may be asked twice.
//!
//! A bus that holds too much for one connection drops what else is meant for it, answers too, and tells nobody: large messages
//! of one stranger are enough. Who waits for such an answer would wait for ever.

use std::io;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often is asked. Together it is less than the 25 seconds after which most callers of the daemon give up.
const TIMES: u32 = 20;

/// Asks until there is an answer. An answer that says no is one.
pub async fn answer<T, E: From<zbus::Error>, Q: Future<Output = Result<T, E>>>(ask: impl Fn() -> Q) -> Result<T, E> {
    for _ in 0..TIMES {
        if let Ok(answer) = tokio::time::timeout(PATIENCE, ask()).await {
            return answer;
        }
    }
    Err(none().into())
}

/// Asks what must not be asked twice, and waits as long. Without an answer nobody knows whether it was done.
pub async fn once<T, E: From<zbus::Error>>(ask: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::time::timeout(PATIENCE * TIMES, ask).await.unwrap_or_else(|_| Err(none().into()))
}

fn none() -> zbus::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer").into()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Answers the nth time.
    async fn asked(answered: u32) -> (zbus::Result<&'static str>, u32) {
        let asked = Cell::new(0);
        let ask = || async {
            asked.set(asked.get() + 1);
            if asked.get() < answered {
                std::future::pending::<()>().await;
            }
            Ok("yes")
        };
        (answer(ask).await, asked.get())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_was_lost_is_asked_for_again() {
        assert_eq!(asked(1).await, (Ok("yes"), 1));
        assert_eq!(asked(3).await, (Ok("yes"), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_not_waited_for_any_longer() {
        let (answer, times) = asked(TIMES + 1).await;
        assert!(matches!(&answer, Err(zbus::Error::InputOutput(error)) if error.kind() == io::ErrorKind::TimedOut), "{answer:?}");
        assert_eq!(times, TIMES);
        let once: zbus::Result<()> = once(std::future::pending()).await;
        assert!(once.is_err());
    }
}
