//! The file that holds the client's identity.
//!
//! It is written anew before each registration, so that no registration's
//! number is used twice, and after the first one, before the identity is used.
//! A new file is written and synced, and takes the name of the old one only
//! then: at any moment there is one that is whole. A checksum tells whether
//! the disk kept it so; a file without one, written by hand, is taken.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::registration::body::{Hex, client_text};
use crate::wire::proof::ClientSecret;
use crate::{ClientId, FileId, Key, StoreError, StoreOp, Ticket};

const NAME: &str = "client.json";
const NAME_NEW: &str = "client.json.new";
const BYTES_MAX: u64 = 4_096;
const FILE: FileId = FileId::from_key(Key::new(0, 0));

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<SavedIdentity>,
    registration: u64,
    /// CRC-32 of the number, the identity and its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crc32: Option<Hex<4>>,
}

impl Saved {
    fn checksum(&self) -> Hex<4> {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.registration.to_be_bytes());
        if let Some(SavedIdentity { client, secret }) = &self.identity {
            hasher.update(&client.0);
            hasher.update(&secret.0);
        }
        Hex(hasher.finalize().to_be_bytes())
    }
}

#[derive(Serialize, Deserialize)]
struct SavedIdentity {
    #[serde(with = "client_text")]
    client: ClientId,
    secret: Hex<32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing was read yet.
    Unloaded,
    Loading(Ticket),
    /// What is on disk is what is known.
    Saved,
    Create,
    Append,
    Sync,
    Close,
    /// Content and file are on their way to the disk.
    Writing {
        sync: Ticket,
        last: Ticket,
    },
    Rename,
    Renaming(Ticket),
    /// The file can not be read or understood.
    Unreadable,
}

/// A storage effect, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Load,
    Create,
    Append,
    Sync,
    Close,
    Rename,
}

/// What a [`Keeper`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Loaded,
    Saved,
    /// It could not be written.
    Failed(StoreError),
    /// It could not be read.
    Unavailable(StoreError),
    /// What was read is not understood.
    Unreadable,
}

/// Keeps the identity and the number of the last registration on disk.
pub(super) struct Keeper {
    identity: Option<(ClientId, ClientSecret)>,
    registration: u64,
    text: Vec<u8>,
    step: Step,
    next_ticket: u64,
    failed: Option<StoreError>,
}

impl Keeper {
    pub(super) const fn new() -> Self {
        Self {
            identity: None,
            registration: 0,
            text: Vec::new(),
            step: Step::Unloaded,
            next_ticket: 1,
            failed: None,
        }
    }

    pub(super) fn identity(&self) -> Option<(ClientId, &ClientSecret)> {
        self.identity.as_ref().map(|(id, secret)| (*id, secret))
    }

    pub(super) const fn registration(&self) -> u64 {
        self.registration
    }

    /// Whether the file was read, or there is none.
    pub(super) const fn is_loaded(&self) -> bool {
        !matches!(
            self.step,
            Step::Unloaded | Step::Loading(_) | Step::Unreadable
        )
    }

    /// Whether everything that is known is on disk.
    pub(super) fn is_saved(&self) -> bool {
        self.step == Step::Saved
    }

    /// Takes the next number for a registration. It may be used when it is
    /// saved.
    pub(super) fn take_number(&mut self, skip: u64) {
        self.registration = self.registration.saturating_add(1 + skip);
        self.save();
    }

    /// Takes the identity that a relay gave. It may be used when it is saved.
    pub(super) fn take_identity(&mut self, id: ClientId, secret: ClientSecret) {
        self.identity = Some((id, secret));
        self.save();
    }

    fn save(&mut self) {
        let mut saved = Saved {
            identity: self
                .identity
                .as_ref()
                .map(|(client, secret)| SavedIdentity {
                    client: *client,
                    secret: Hex(secret.0),
                }),
            registration: self.registration,
            crc32: None,
        };
        saved.crc32 = Some(saved.checksum());
        self.text.clear();
        if let Ok(text) = serde_json::to_vec_pretty(&saved) {
            self.text = text;
            self.text.push(b'\n');
        }
        self.failed = None;
        self.step = Step::Create;
    }

    /// The next storage effect.
    pub(super) fn poll_store(&mut self) -> Option<(Ticket, Op)> {
        let ticket = Ticket(self.next_ticket);
        let (op, next) = match self.step {
            Step::Unloaded => (Op::Load, Step::Loading(ticket)),
            Step::Create => (Op::Create, Step::Append),
            Step::Append => (Op::Append, Step::Sync),
            Step::Sync => (Op::Sync, Step::Close),
            Step::Close => (
                Op::Close,
                Step::Writing {
                    sync: Ticket(ticket.0 - 1),
                    last: ticket,
                },
            ),
            Step::Rename => (Op::Rename, Step::Renaming(ticket)),
            _ => return None,
        };
        self.step = next;
        self.next_ticket += 1;
        Some((ticket, op))
    }

    /// The effect as the driver sees it; its bytes are in `buf`, which is
    /// longer than the file can be.
    pub(super) fn store_op<'b>(&self, op: Op, buf: &'b mut [u8]) -> StoreOp<'b> {
        match op {
            Op::Load => StoreOp::Load {
                name: NAME,
                bytes_max: BYTES_MAX,
            },
            Op::Create => StoreOp::Create {
                file: FILE,
                name: NAME_NEW,
                reserve: 0,
            },
            Op::Append => {
                let len = self.text.len().min(buf.len());
                buf[..len].copy_from_slice(&self.text[..len]);
                StoreOp::Append {
                    file: FILE,
                    bytes: &buf[..len],
                }
            }
            Op::Sync => StoreOp::Sync { file: FILE },
            Op::Close => StoreOp::Close { file: FILE },
            Op::Rename => StoreOp::Rename {
                from: NAME_NEW,
                to: NAME,
            },
        }
    }

    pub(super) fn handle_loaded(&mut self, ticket: Ticket, bytes: &[u8]) -> Option<Kept> {
        if self.step != Step::Loading(ticket) {
            return None;
        }
        let sound = |saved: &Saved| saved.crc32.is_none_or(|stated| stated == saved.checksum());
        let read = serde_json::from_slice::<Saved>(bytes).ok().filter(sound);
        let Some(saved) = read else {
            self.step = Step::Unreadable;
            return Some(Kept::Unreadable);
        };
        self.identity = saved
            .identity
            .map(|kept| (kept.client, ClientSecret(kept.secret.0)));
        self.registration = saved.registration;
        self.step = Step::Saved;
        Some(Kept::Loaded)
    }

    /// `ticket` is cumulative.
    pub(super) fn handle_stored(&mut self, ticket: Ticket) -> Option<Kept> {
        match self.step {
            // Only a file that is on the disk may take the name.
            Step::Writing { last, .. } if last <= ticket => {
                if let Some(why) = self.failed.take() {
                    self.step = Step::Saved;
                    return Some(Kept::Failed(why));
                }
                self.step = Step::Rename;
                None
            }
            Step::Renaming(renamed) if renamed <= ticket => {
                self.step = Step::Saved;
                Some(self.failed.take().map_or(Kept::Saved, Kept::Failed))
            }
            _ => None,
        }
    }

    pub(super) fn handle_failed(&mut self, ticket: Ticket, why: StoreError) -> Option<Kept> {
        match self.step {
            Step::Loading(loading) if loading == ticket => {
                if why == StoreError::NotFound {
                    self.step = Step::Saved;
                    return Some(Kept::Loaded);
                }
                self.step = Step::Unreadable;
                Some(Kept::Unavailable(why))
            }
            Step::Writing { sync, last } => {
                if ticket <= sync {
                    self.failed = Some(why);
                }
                (ticket == last).then(|| self.handle_stored(last)).flatten()
            }
            Step::Renaming(renamed) if renamed == ticket => {
                self.step = Step::Saved;
                Some(Kept::Failed(why))
            }
            Step::Append | Step::Sync | Step::Close => {
                self.failed = Some(why);
                None
            }
            _ => None,
        }
    }
}
