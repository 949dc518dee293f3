//! Frames out of a stream of bytes.

use tautline_core::collections::Pool;
use tautline_core::wire::frame::{self, Deframer, FrameError, HEADER_BYTES};
use tautline_core::{Instant, Machine};
use tautline_tests::laws::{Census, Log, MachineCase};
use tautline_tests::{Dice, counting};

use super::{assert_lawful, census};

const BODY_BYTES_MAX: usize = 2_000;
const BUFFERS_MAX: usize = 2;
const BUFFER_BYTES_MAX: usize = 4_096;

struct Frames {
    deframer: Deframer,
    pool: Pool,
    failed: bool,
    /// Bytes of a frame that is not whole.
    partial: usize,
}

impl Frames {
    fn take(&mut self, mut bytes: &[u8], log: &mut Log) {
        while !self.failed {
            let before = bytes.len();
            let next = self
                .deframer
                .next(&mut bytes, BODY_BYTES_MAX as u32, &mut self.pool);
            match next {
                Ok(Some(found)) => {
                    self.partial = 0;
                    log.event(&found);
                }
                Ok(None) => {
                    self.partial += before;
                    assert!(bytes.is_empty(), "all is taken where there is no frame");
                    break;
                }
                Err(why) => self.fail(why, log),
            }
        }
        assert_eq!(self.deframer.is_partial(), self.partial > 0);
    }

    fn fail(&mut self, why: FrameError, log: &mut Log) {
        self.failed = true;
        self.partial = 0;
        log.event(&why);
        let again = self.deframer.next(&mut &b"more"[..], 9, &mut self.pool);
        assert_eq!(again, Err(why), "an error is repeated");
    }
}

impl Machine for Frames {
    type Effect = core::convert::Infallible;

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll(&mut self) -> Option<Self::Effect> {
        None
    }
}

/// Frames, one behind another, seldom damaged.
fn frames(dice: &mut Dice, count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        let body_max = if dice.one_in(8) { 2_100 } else { 60 };
        let body = dice.bytes(body_max);
        let start = bytes.len();
        bytes.resize(start + HEADER_BYTES + body.len(), 0);
        let encoded = frame::encode(dice.below(80) as u8, 0, &body, &mut bytes[start..]);
        assert_eq!(encoded, Ok(HEADER_BYTES + body.len()));
    }
    if dice.one_in(4) {
        let place = dice.index(bytes.len());
        bytes[place] ^= 1 << dice.below(8);
    }
    bytes
}

struct DeframerCase;

impl MachineCase for DeframerCase {
    type Machine = Frames;
    const NAME: &'static str = "deframer";

    fn new(_seed: u64) -> (Frames, Self) {
        let frames = Frames {
            deframer: Deframer::default(),
            pool: Pool::new(BUFFERS_MAX as u32, BUFFER_BYTES_MAX),
            failed: false,
            partial: 0,
        };
        (frames, Self)
    }

    fn act(&mut self, machine: &mut Frames, _: Instant, dice: &mut Dice, log: &mut Log) {
        if core::mem::take(&mut machine.failed) {
            machine.deframer = Deframer::default();
        }
        let mut bytes = frames(dice, 3);
        // The rest of a frame that is missing is what follows.
        bytes.truncate(dice.index(8 * bytes.len()));
        machine.take(&bytes, log);
    }

    fn noise(&mut self, machine: &mut Frames, _: Instant, dice: &mut Dice, log: &mut Log) {
        let mut bytes = dice.bytes(40);
        // A length that passes now and then.
        bytes[0] = 0;
        machine.take(&bytes, log);
    }

    fn census(&self, machine: &Frames) -> Vec<Census> {
        let pool = &machine.pool;
        vec![
            census(
                "body_bytes_max",
                machine.partial,
                HEADER_BYTES + BODY_BYTES_MAX,
            ),
            // Of each size; see `Pool`.
            census(
                "buffer_bytes_max",
                pool.retained_bytes(),
                4 * BUFFERS_MAX * BUFFER_BYTES_MAX,
            ),
        ]
    }

    fn steady(&mut self, machine: &mut Frames, _: Instant, dice: &mut Dice) -> bool {
        let mut bytes = [0; 500];
        let len = 1 + dice.index(bytes.len() - HEADER_BYTES - 1);
        let frame = frame::encode(1, 0, &[7; 500][..len], &mut bytes).expect("it fits");
        let (first, rest) = bytes[..frame].split_at(dice.index(frame));
        let mut log = counting::paused(Log::counting);
        machine.take(first, &mut log);
        machine.take(rest, &mut log);
        assert!(!machine.failed);
        true
    }

    fn stream(dice: &mut Dice) -> Option<Vec<u8>> {
        let count = 1 + dice.below(8);
        Some(frames(dice, count))
    }

    fn feed(&mut self, machine: &mut Frames, _: Instant, bytes: &[u8], log: &mut Log) -> usize {
        machine.take(bytes, log);
        bytes.len()
    }
}

#[test]
fn the_deframer_keeps_all_laws() {
    let tally = assert_lawful::<DeframerCase>(150);
    assert!(
        tally.streams > 0 && tally.noises > 100 && tally.tables == 2 && tally.steady > 0,
        "{tally:?}"
    );
}
