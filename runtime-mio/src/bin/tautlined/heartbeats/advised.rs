//! Advice that a whole fleet needs is told once a minute.

use std::time::{Duration, Instant};

use tautline_core::ClientId;
use tautline_core::heartbeat::Advice;

/// Between two lines of the same advice.
const PAUSE: Duration = Duration::from_secs(60);
/// Advice that is told apart. Clients choose their figures, so there is no end
/// of it.
const KINDS_MAX: usize = 16;

/// Who was advised what since the log was told of it.
#[derive(Debug, Default)]
pub(super) struct Advised {
    /// At most one more than `KINDS_MAX`.
    kinds: Vec<Kind>,
}

#[derive(Debug)]
struct Kind {
    advice: Advice,
    /// Whether it is only the last one of several.
    is_mixed: bool,
    told_at: Instant,
    /// The last one.
    client: ClientId,
    clients: u64,
}

/// Something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) advice: Advice,
    /// The last client that was advised.
    pub(super) client: ClientId,
    /// How many were since the last line.
    pub(super) clients: u64,
    /// Whether `advice` is only the last one of several.
    pub(super) is_mixed: bool,
}

impl Advised {
    /// A client is advised. Whether that is told now, not with others when it
    /// is due.
    pub(super) fn note(&mut self, now: Instant, client: ClientId, advice: Advice) -> bool {
        let is_same = |kind: &Kind| !kind.is_mixed && kind.advice == advice;
        let apart = self.kinds.iter().filter(|kind| !kind.is_mixed).count();
        let is_mixed = apart == KINDS_MAX && !self.kinds.iter().any(is_same);
        let mut kinds = self.kinds.iter_mut();
        let known = kinds.find(|kind| is_same(kind) || is_mixed && kind.is_mixed);
        if let Some(kind) = known {
            kind.advice = advice;
            kind.client = client;
            kind.clients += 1;
            return false;
        }
        self.kinds.push(Kind {
            advice,
            is_mixed,
            told_at: now,
            client,
            clients: 0,
        });
        true
    }

    /// Something that is due; what nobody needed any more is forgotten.
    pub(super) fn due(&mut self, now: Instant) -> Option<Line> {
        self.kinds
            .retain(|kind| kind.clients > 0 || kind.left(now) > Duration::ZERO);
        let kind = self
            .kinds
            .iter_mut()
            .find(|kind| kind.left(now).is_zero())?;
        kind.told_at = now;
        Some(Line {
            advice: kind.advice,
            client: kind.client,
            clients: std::mem::take(&mut kind.clients),
            is_mixed: kind.is_mixed,
        })
    }

    /// How long until something is due; `None` if nothing will be.
    pub(super) fn rest(&self, now: Instant) -> Option<Duration> {
        let waiting = self.kinds.iter().filter(|kind| kind.clients > 0);
        waiting.map(|kind| kind.left(now)).min()
    }
}

impl Kind {
    fn left(&self, now: Instant) -> Duration {
        (self.told_at + PAUSE).saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn client(number: u8) -> ClientId {
        ClientId([number; 16])
    }

    fn of(heartbeat: u32) -> Advice {
        Advice::NoProber {
            heartbeat: heartbeat * SECOND,
        }
    }

    #[test]
    fn the_same_advice_is_told_once_a_minute_with_how_many_needed_it() {
        let start = Instant::now();
        let mut advised = Advised::default();
        assert_eq!((advised.rest(start), advised.due(start)), (None, None));
        assert!(advised.note(start, client(1), of(1)));
        assert_eq!(advised.rest(start), None);
        for number in 2..=9 {
            assert!(!advised.note(start + SECOND, client(number), of(1)));
        }
        assert!(advised.note(start + SECOND, client(7), of(2)));
        assert_eq!(advised.rest(start + SECOND), Some(59 * SECOND));
        assert_eq!(advised.due(start + 59 * SECOND), None);
        let minute = start + PAUSE;
        assert_eq!(advised.rest(minute), Some(Duration::ZERO));
        let line = Line {
            advice: of(1),
            client: client(9),
            clients: 8,
            is_mixed: false,
        };
        assert_eq!(advised.due(minute), Some(line));
        assert_eq!((advised.due(minute), advised.rest(minute)), (None, None));
        // The minute begins anew.
        assert!(!advised.note(minute + SECOND, client(1), of(1)));
        assert_eq!(advised.rest(minute + SECOND), Some(59 * SECOND));
        let clients = advised.due(minute + PAUSE).map(|line| line.clients);
        assert_eq!(clients, Some(1));
        // After a minute without it, it is news.
        assert_eq!(advised.due(minute + 2 * PAUSE), None);
        assert!(advised.kinds.is_empty());
        assert!(advised.note(minute + 2 * PAUSE, client(1), of(1)));
    }

    #[test]
    fn clients_that_each_have_other_figures_are_told_together() {
        let start = Instant::now();
        let mut advised = Advised::default();
        let told = (1..=1_000).filter(|n| advised.note(start, client(1), of(*n)));
        assert_eq!(told.count(), KINDS_MAX + 1);
        assert_eq!(advised.kinds.len(), KINDS_MAX + 1);
        let line = Line {
            advice: of(1_000),
            client: client(1),
            clients: 1_000 - KINDS_MAX as u64 - 1,
            is_mixed: true,
        };
        assert_eq!(advised.due(start + PAUSE), Some(line));
        assert_eq!(advised.due(start + PAUSE), None);
        // The others made room.
        assert!(advised.note(start + PAUSE, client(1), of(5)));
        assert!(!advised.note(start + PAUSE, client(1), of(5)));
    }
}
