//! A disk that is slow and fails: what stays is what was synced and renamed.

use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::collections::model::Script;
use crate::{ClientId, StoreError, StoreOp, Ticket};

/// The folder of a client with its one file.
#[derive(Default)]
pub(super) struct Disk {
    told: VecDeque<(Ticket, Op)>,
    last: Option<Ticket>,
    /// The new file, if there is one, and how much of it is durable.
    new: Option<(Vec<u8>, usize)>,
    file: Option<Vec<u8>>,
}

enum Op {
    Load,
    Create,
    Append(Vec<u8>),
    Sync,
    Close,
    Rename,
}

/// What came of an effect.
pub(super) struct Done {
    pub(super) ticket: Ticket,
    pub(super) loaded: Option<Vec<u8>>,
    pub(super) failed: Option<StoreError>,
}

impl Disk {
    /// An effect comes in, behind those before it.
    pub(super) fn take(&mut self, ticket: Ticket, op: &StoreOp<'_>) {
        assert!(self.last.is_none_or(|last| ticket.0 == last.0 + 1));
        self.last = Some(ticket);
        let op = match op {
            StoreOp::Load { .. } => Op::Load,
            StoreOp::Create { .. } => Op::Create,
            StoreOp::Append { bytes, .. } => Op::Append(bytes.to_vec()),
            StoreOp::Sync { .. } => Op::Sync,
            StoreOp::Close { .. } => Op::Close,
            StoreOp::Rename { .. } => Op::Rename,
            other => panic!("not a client's: {other:?}"),
        };
        self.told.push_back((ticket, op));
    }

    /// Carries the next effect out, or fails to.
    pub(super) fn step(&mut self, script: &mut Script<'_>) -> Option<Done> {
        let (ticket, op) = self.told.pop_front()?;
        let mut done = Done {
            ticket,
            loaded: None,
            failed: None,
        };
        if script.one_in(12) {
            done.failed = Some(StoreError::Failed);
            return Some(done);
        }
        match op {
            Op::Load => match script.byte().unwrap_or_default() % 8 {
                0 => done.loaded = Some(script.bytes(30).to_vec()),
                1 | 2 => {
                    let text = br#"{"registration": 7}"#.to_vec();
                    self.file = Some(text.clone());
                    done.loaded = Some(text);
                }
                _ => done.failed = Some(StoreError::NotFound),
            },
            Op::Create => self.new = Some((Vec::new(), 0)),
            Op::Append(bytes) => match &mut self.new {
                Some((new, _)) => new.extend_from_slice(&bytes),
                None => done.failed = Some(StoreError::NotFound),
            },
            Op::Sync => match &mut self.new {
                Some((new, durable)) => *durable = new.len(),
                None => done.failed = Some(StoreError::NotFound),
            },
            Op::Close => {}
            Op::Rename => match self.new.take() {
                Some((new, durable)) => {
                    assert!(
                        durable == new.len() && durable > 0,
                        "not whole, or not synced"
                    );
                    self.file = Some(new);
                }
                None => done.failed = Some(StoreError::NotFound),
            },
        }
        Some(done)
    }

    /// Whether the file that would be found after a crash has the identity.
    pub(super) fn has_identity(&self, client: ClientId) -> bool {
        let kept = self
            .value()
            .map(|value| value["identity"]["client"].clone());
        kept.is_some_and(|kept| kept == client.to_string().as_str())
    }

    /// The number of the last registration that would be found after a crash.
    pub(super) fn registration(&self) -> u64 {
        let kept = self
            .value()
            .and_then(|value| value["registration"].as_u64());
        kept.unwrap_or_default()
    }

    fn value(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(self.file.as_deref()?).ok()
    }
}
