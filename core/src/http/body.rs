//! The body of a message that is being received: how far it is, and who
//! takes its bytes. Server and client share it.

use super::chunked::{At, Chunked};
use super::fault::Fault;
use super::head::Head;
use super::{BodyLength, Limits, Misuse, Pool, Reading};

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    AtLength,
    InChunks,
    WithConnection,
}

/// Who takes the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taker {
    /// Nobody said; none are taken.
    Nobody,
    /// The application, all at once.
    Whole,
    /// The application, as they come.
    Chunks,
    /// A file.
    File,
    /// Nobody wants them.
    Discard,
    /// What comes is no message any more.
    Dead,
}

/// A body on its way in.
#[derive(Debug)]
pub(super) struct Incoming {
    chunked: Chunked,
    /// What the body, or its chunk, has left.
    left: u64,
    /// Bytes that may still come.
    budget: u64,
    ends: Ends,
    taker: Taker,
    done: bool,
    /// A `Take` is with the driver.
    taking: bool,
}

impl Incoming {
    /// No body.
    pub(super) fn none(limits: &Limits) -> Self {
        Self::new(BodyLength::None, limits)
    }

    pub(super) fn new(length: BodyLength, limits: &Limits) -> Self {
        let (ends, left) = match length {
            BodyLength::None => (Ends::AtLength, 0),
            BodyLength::Known(bytes) => (Ends::AtLength, bytes),
            BodyLength::Chunked => (Ends::InChunks, 0),
            BodyLength::UntilClose => (Ends::WithConnection, u64::MAX),
        };
        Self {
            chunked: Chunked::new(limits),
            left,
            budget: limits.body_bytes_max,
            ends,
            taker: Taker::Nobody,
            done: length == BodyLength::None,
            taking: false,
        }
    }

    /// Whether its last byte was taken.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether a file takes it and it is not over.
    pub(super) fn is_taken_to_file(&self) -> bool {
        self.taker == Taker::File && !self.done
    }

    pub(super) fn is_read_by_chunks(&self) -> bool {
        self.taker == Taker::Chunks
    }

    /// Whether the application waits for its end.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.taker, Taker::Whole | Taker::Chunks | Taker::File)
    }

    /// Whether the peer is waited for: someone takes what comes.
    pub(super) fn is_awaited(&self) -> bool {
        !self.done && !matches!(self.taker, Taker::Nobody | Taker::Dead)
    }

    /// Whether bytes that were not taken before are taken now, to be dropped.
    pub(super) fn is_dropped(&self) -> bool {
        self.taker == Taker::Dead || self.taker == Taker::Discard && !self.done
    }

    /// Chooses who takes it.
    pub(super) fn read(&mut self, reading: Reading) -> Result<Result<(), Fault>, Misuse> {
        if self.taker != Taker::Nobody {
            return Err(Misuse::ReadingChosen);
        }
        self.taker = match reading {
            Reading::Whole { bytes_max } => {
                self.budget = self.budget.min(bytes_max);
                Taker::Whole
            }
            Reading::Chunks => Taker::Chunks,
            Reading::Take { .. } => Taker::File,
        };
        Ok(self.check_budget())
    }

    /// Lets the rest be read and dropped, if it is no more than `bytes_max`
    /// as far as that is known. Returns whether it is.
    pub(super) fn discard(&mut self, bytes_max: u64) -> bool {
        if self.done {
            return true;
        }
        self.taker = Taker::Discard;
        self.budget = bytes_max;
        if self.check_budget().is_err() {
            self.kill();
        }
        !self.done
    }

    /// What comes from here on is dropped and is no message.
    pub(super) fn kill(&mut self) {
        self.taker = Taker::Dead;
        self.taking = false;
        self.done = true;
    }

    /// Takes bytes of the stream; returns how many.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        head: &mut Head,
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<usize, Fault> {
        if self.taker == Taker::Dead {
            return Ok(bytes.len());
        }
        let mut rest = bytes;
        while !rest.is_empty() && self.is_awaited() {
            let taken = match self.data_left() {
                0 => self.feed_framing(rest)?,
                _ if self.taker == Taker::File => 0,
                // Only a body that ends with the connection gets here: the
                // others were checked when their length was known.
                _ if self.budget == 0 => return Err(Fault::BODY_TOO_LARGE),
                left => self.feed_data(rest, left, head, limits, pool),
            };
            if taken == 0 {
                break;
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(bytes.len() - rest.len())
    }

    /// The bytes that a file takes next, told once.
    pub(super) fn next_take(&mut self) -> Option<u64> {
        if !self.is_taken_to_file() || self.taking {
            return None;
        }
        let len = match self.ends {
            Ends::WithConnection => self.budget,
            _ => self.data_left(),
        };
        self.taking = len > 0;
        self.taking.then_some(len)
    }

    /// The driver moved bytes to the file; returns how many it can have been.
    pub(super) fn moved(&mut self, bytes: u64) -> u64 {
        if !self.taking {
            return 0;
        }
        let bytes = bytes.min(self.data_left()).min(self.budget);
        self.advance(bytes);
        if self.data_left() == 0 || self.budget == 0 {
            self.taking = false;
        }
        bytes
    }

    /// The peer ended; returns whether the body is complete.
    pub(super) fn ended(&mut self) -> bool {
        if self.ends == Ends::WithConnection && self.taker != Taker::Nobody {
            self.taking = false;
            self.done = true;
        }
        self.done
    }

    /// Whether it ends with the connection.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.ends == Ends::WithConnection
    }

    fn feed_framing(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let taken = self.chunked.framing(bytes, &mut self.left)?;
        match self.chunked.at() {
            At::End => self.done = true,
            At::Data => self.check_budget()?,
            At::Framing => {}
        }
        Ok(taken)
    }

    fn feed_data(
        &mut self,
        bytes: &[u8],
        left: u64,
        head: &mut Head,
        limits: &Limits,
        pool: &mut Pool,
    ) -> usize {
        let room = match self.taker {
            Taker::Chunks => limits
                .body_buffer_bytes_max
                .saturating_sub(head.body().len()),
            _ => usize::MAX,
        };
        let most = usize::try_from(left.min(self.budget))
            .unwrap_or(usize::MAX)
            .min(room);
        let data = bytes.get(..most).unwrap_or(bytes);
        if matches!(self.taker, Taker::Whole | Taker::Chunks) {
            head.append_body(data, pool);
        }
        self.advance(data.len() as u64);
        data.len()
    }

    /// Whether what is known to come is within the budget.
    fn check_budget(&self) -> Result<(), Fault> {
        let known = match self.ends {
            Ends::WithConnection => 0,
            _ => self.data_left(),
        };
        if known > self.budget {
            return Err(Fault::BODY_TOO_LARGE);
        }
        Ok(())
    }

    /// Bytes of data that come next. Within the line of a chunk's size, `left`
    /// is what was read of the size.
    fn data_left(&self) -> u64 {
        if self.ends == Ends::InChunks && self.chunked.at() != At::Data {
            0
        } else {
            self.left
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.budget = self.budget.saturating_sub(bytes);
        if self.ends == Ends::WithConnection {
            return;
        }
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            self.chunked.data_ends();
            self.done |= self.ends == Ends::AtLength;
        }
    }
}
