//! What a subject did, in order: the trace that the laws compare.

use core::fmt::Debug;
use std::collections::{BTreeMap, BTreeSet};

use tautline_core::{Instant, Ticket};

use crate::counting;

/// One thing that a subject did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An effect for the driver.
    Effect(String),
    /// Something for the application; its order is kept however a stream is cut.
    Event(String),
    /// Bytes for a stream.
    Bytes {
        /// Which one.
        stream: u64,
        /// Them.
        bytes: Vec<u8>,
    },
    /// Bytes for a file.
    File {
        /// Which one.
        file: u64,
        /// Where the first one goes; `None` appends.
        offset: Option<u64>,
        /// Them.
        bytes: Vec<u8>,
    },
}

/// An entry and its moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// When it was drained.
    pub at: Instant,
    /// What it was.
    pub entry: Entry,
}

/// The trace of one run.
///
/// A log that does not record still counts and still watches promises; writing
/// to it allocates nothing.
#[derive(Clone, Debug)]
pub struct Log {
    now: Instant,
    recording: bool,
    entries: Vec<Stamped>,
    outputs: u64,
    resumes: u64,
    promises: u64,
    stored: BTreeSet<Ticket>,
    broken_promise: Option<String>,
}

impl Log {
    /// A log that keeps what is written to it.
    pub fn recording() -> Self {
        Self::new(true)
    }

    /// A log that only counts.
    pub fn counting() -> Self {
        Self::new(false)
    }

    fn new(recording: bool) -> Self {
        Self {
            now: Instant::ORIGIN,
            recording,
            entries: Vec::new(),
            outputs: 0,
            resumes: 0,
            promises: 0,
            stored: BTreeSet::new(),
            broken_promise: None,
        }
    }

    /// Notes an effect.
    pub fn effect(&mut self, effect: &impl Debug) {
        if self.recording {
            self.push(Entry::Effect(format!("{effect:?}")));
        }
    }

    /// Notes something for the application.
    pub fn event(&mut self, event: &impl Debug) {
        if self.recording {
            self.push(Entry::Event(format!("{event:?}")));
        }
    }

    /// Notes bytes that a stream carries.
    pub fn bytes(&mut self, stream: u64, bytes: &[u8]) {
        if self.recording {
            let bytes = bytes.to_vec();
            self.push(Entry::Bytes { stream, bytes });
        }
    }

    /// Notes bytes that a file takes, at an offset or at its end.
    pub fn file(&mut self, file: u64, offset: Option<u64>, bytes: &[u8]) {
        if self.recording {
            let bytes = bytes.to_vec();
            self.push(Entry::File {
                file,
                offset,
                bytes,
            });
        }
    }

    /// Notes that the subject wants a stream offered again. When that happens
    /// depends on how the stream is cut, so it is not part of the trace.
    pub fn resume(&mut self) {
        self.resumes += 1;
    }

    /// Notes that a storage effect came back as done, and was told so to the
    /// subject.
    pub fn stored(&mut self, ticket: Ticket) {
        counting::paused(|| self.stored.insert(ticket));
    }

    /// Notes that the subject has just promised what rests on a storage effect.
    pub fn promise(&mut self, ticket: Ticket) {
        self.promises += 1;
        if !self.stored.contains(&ticket) && self.broken_promise.is_none() {
            self.broken_promise = Some(counting::paused(|| {
                format!("{ticket:?} was promised before it was stored")
            }));
        }
    }

    /// What was noted, in order.
    pub fn entries(&self) -> &[Stamped] {
        &self.entries
    }

    /// What has to be the same however a stream is cut.
    pub fn essence(&self) -> Essence {
        let mut essence = Essence::default();
        for Stamped { entry, .. } in &self.entries {
            match entry {
                Entry::Effect(_) => {}
                Entry::Event(event) => essence.events.push(event.clone()),
                Entry::Bytes { stream, bytes } => {
                    essence.streams.entry(*stream).or_default().extend(bytes);
                }
                Entry::File {
                    file,
                    offset,
                    bytes,
                } => {
                    let content = essence.files.entry(*file).or_default();
                    let start = offset.map_or(content.len(), |offset| offset as usize);
                    content.resize(content.len().max(start + bytes.len()), 0);
                    content[start..start + bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        essence
    }

    pub(super) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    pub(super) fn count_output(&mut self) {
        self.outputs += 1;
    }

    pub(super) fn outputs(&self) -> u64 {
        self.outputs
    }

    pub(super) fn resumes(&self) -> u64 {
        self.resumes
    }

    pub(super) fn promises(&self) -> u64 {
        self.promises
    }

    pub(super) fn broken_promise(&self) -> Option<&str> {
        self.broken_promise.as_deref()
    }

    fn push(&mut self, entry: Entry) {
        let at = self.now;
        self.entries.push(Stamped { at, entry });
    }
}

/// What a run comes to, without how it was cut: the bytes of each stream, the
/// content of each file, the events in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Essence {
    /// Bytes by stream.
    pub streams: BTreeMap<u64, Vec<u8>>,
    /// Content by file.
    pub files: BTreeMap<u64, Vec<u8>>,
    /// Events in order.
    pub events: Vec<String>,
}

/// The first place where two traces differ, in words.
pub(super) fn first_difference(left: &Log, right: &Log) -> Option<String> {
    let (left, right) = (left.entries(), right.entries());
    let place = (0..left.len().max(right.len())).find(|&at| left.get(at) != right.get(at))?;
    Some(format!(
        "output {place} is {}, but was {}",
        show(right.get(place)),
        show(left.get(place)),
    ))
}

fn show(stamped: Option<&Stamped>) -> String {
    stamped.map_or_else(
        || "missing".to_owned(),
        |stamped| format!("{:?} at {:?}", stamped.entry, stamped.at),
    )
}
