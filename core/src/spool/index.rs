//! What is kept in memory of a spool: who waits for what, and where it stands.

mod chain;
mod sort;

use core::fmt;
use core::num::NonZeroU64;

use super::format::{RecordHeader, RecordKind, record_bytes};
use crate::ClientId;
use crate::collections::{Chunks, Index, Slab};
use chain::{Beside, Chained, NONE, entry, entry_mut, link, unlink};

/// How much a [`SpoolIndex`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexLimits {
    /// Hosts that ever had a message. About 92 bytes each.
    pub hosts_max: u32,
    /// Messages that wait. About 60 bytes each.
    pub messages_max: u32,
    /// Segments: their slots are below it.
    pub segments_max: u32,
}

/// Why a record was not entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// There are `hosts_max` hosts.
    #[error("no room for another host")]
    HostsFull,
    /// There are `messages_max` messages.
    #[error("no room for another message")]
    MessagesFull,
    /// No segment of this number was begun in the slot, or the slot is beyond
    /// `segments_max`.
    #[error("no such segment in slot {0}")]
    NoSegment(u32),
    /// Something in the slot is needed still.
    #[error("slot {0} is in use")]
    InUse(u32),
}

/// What stands of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostState {
    /// The number of its next message.
    pub next_number: u64,
    /// Its messages up to this one are done.
    pub removed_through: u64,
    /// Messages that wait.
    pub queued: u32,
}

/// A message that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its number among those of its host.
    pub number: u64,
    /// The slot of its segment.
    pub slot: u32,
    /// Where in the segment its record begins.
    pub offset: u32,
    /// Bytes of its body.
    pub body_bytes: u32,
    /// See [`RecordKind::Message`].
    pub priority: u8,
    /// See [`RecordKind::Message`].
    pub expires_at: u32,
}

/// What stands of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentState {
    /// The number of its use.
    pub number: u64,
    /// Bytes of the records of messages that wait in it.
    pub live_bytes: u64,
}

/// Hosts, their messages in the order of their numbers, and segments with what
/// is needed of them.
///
/// It is made of the records that scans find, in any order of segments, and
/// [`settle`](Self::settle) puts what came in disorder in order. Later each
/// record that is written is entered by the same [`enter`](Self::enter);
/// whatever it meets again counts once. From the newest segment to the oldest
/// is the best order to build it: what a later statement removed is then not
/// held in between.
///
/// Everything is O(1) for each message and host it is about, but `settle`,
/// which is O(n log n). An index that has been as full as it gets allocates
/// nothing.
pub struct SpoolIndex {
    hosts: Slab<Host>,
    by_id: Index,
    messages: Slab<Message>,
    /// By the place of the host and the number.
    by_number: Index,
    /// By slot.
    segments: Chunks<Segment>,
    /// Messages of queues that were deleted whole, to be freed by and by.
    doomed: u32,
    doomed_len: u32,
}

struct Host {
    id: ClientId,
    next_number: u64,
    removed_through: u64,
    /// The sequence of its latest statement, and the slot that has it.
    stated: u64,
    stated_in: u32,
    beside: Beside,
    head: u32,
    tail: u32,
    queued: u32,
    is_sorted: bool,
}

struct Message {
    number: NonZeroU64,
    expires_at: u32,
    slot: u32,
    offset: u32,
    /// Bytes of the body above 8 bits of priority.
    body_and_priority: u32,
    /// The place of its host.
    host: u32,
    /// The next one of the host.
    next: u32,
    beside: Beside,
}

#[derive(Clone, Copy)]
struct Segment {
    /// 0 if none was begun.
    number: u64,
    live_bytes: u64,
    /// The first of its messages, and of the hosts stated in it.
    messages: u32,
    stated: u32,
}

/// What two places in an [`Index`] and a [`Slab`] take beside the value.
const SLAB_AND_INDEX_BYTES: usize = 8 + 12;
const _: () = assert!(size_of::<Option<Message>>() + SLAB_AND_INDEX_BYTES <= 64);
const _: () = assert!(size_of::<Option<Host>>() + SLAB_AND_INDEX_BYTES <= 96);

impl Segment {
    const NONE: Self = Self {
        number: 0,
        live_bytes: 0,
        messages: NONE,
        stated: NONE,
    };
}

impl Message {
    const fn body_bytes(&self) -> u32 {
        self.body_and_priority >> 8
    }

    fn live_bytes(&self) -> u64 {
        record_bytes(self.body_bytes()).into()
    }

    const fn queued(&self) -> Queued {
        Queued {
            number: self.number.get(),
            slot: self.slot,
            offset: self.offset,
            body_bytes: self.body_bytes(),
            priority: self.body_and_priority as u8,
            expires_at: self.expires_at,
        }
    }
}

impl Chained for Message {
    fn beside(&mut self) -> &mut Beside {
        &mut self.beside
    }
}

impl Chained for Host {
    fn beside(&mut self) -> &mut Beside {
        &mut self.beside
    }
}

impl SpoolIndex {
    /// An empty index. It allocates nothing. The seed is drawn at random.
    pub fn new(limits: IndexLimits, seed: [u8; 16]) -> Self {
        Self {
            hosts: Slab::new(limits.hosts_max),
            by_id: Index::new(seed, limits.hosts_max),
            messages: Slab::new(limits.messages_max),
            by_number: Index::new(seed, limits.messages_max),
            segments: Chunks::new(limits.segments_max),
            doomed: NONE,
            doomed_len: 0,
        }
    }

    /// Begins a use of a slot, with a number from 1 on.
    ///
    /// # Errors
    /// [`IndexError::InUse`] if the slot holds what is needed;
    /// [`IndexError::NoSegment`] if there is no such slot.
    pub fn begin(&mut self, slot: u32, number: u64) -> Result<(), IndexError> {
        let begun = self.segments.get_or_grow(slot, Segment::NONE);
        let segment = begun.ok_or(IndexError::NoSegment(slot))?;
        if !segment.is_clear() {
            return Err(IndexError::InUse(slot));
        }
        segment.number = number;
        Ok(())
    }

    /// Enters a record that stands in a slot.
    ///
    /// Of a message that stands in two segments, the one in the newer counts;
    /// of statements, the one with the highest sequence.
    ///
    /// # Errors
    /// [`IndexError`]: nothing was entered, but that a host's numbers never go
    /// back below a message that found no room.
    pub fn enter(&mut self, slot: u32, record: &RecordHeader) -> Result<(), IndexError> {
        let number = self.segment(slot).map(|segment| segment.number);
        if number != Some(record.segment) {
            return Err(IndexError::NoSegment(slot));
        }
        match record.kind {
            RecordKind::Message {
                priority,
                expires_at,
            } => self.enter_message(slot, record, priority, expires_at),
            RecordKind::Statement { removed_through } => {
                self.enter_statement(slot, record, removed_through)
            }
            RecordKind::Seal | RecordKind::Void => Ok(()),
        }
    }

    fn enter_message(
        &mut self,
        slot: u32,
        record: &RecordHeader,
        priority: u8,
        expires_at: u32,
    ) -> Result<(), IndexError> {
        let host_place = self.host_place(record.host)?;
        let Some(host) = entry_mut(&mut self.hosts, host_place) else {
            return Ok(());
        };
        host.next_number = host.next_number.max(record.number.saturating_add(1));
        let waits = record.number > host.removed_through;
        let Some(number) = NonZeroU64::new(record.number).filter(|_| waits) else {
            return Ok(());
        };
        if let Some(place) = self.place_of(host_place, record.number) {
            self.take_newer_copy(place, slot, record.offset);
            return Ok(());
        }
        if self.messages.is_full() && !self.reap(1) {
            return Err(IndexError::MessagesFull);
        }
        let message = Message {
            number,
            expires_at,
            slot,
            offset: record.offset,
            body_and_priority: record.body_bytes << 8 | u32::from(priority),
            host: host_place,
            next: NONE,
            beside: Beside::NONE,
        };
        let key = self.messages.insert(message);
        let place = key.map_err(|_| IndexError::MessagesFull)?.index() as u32;
        let hash = self.by_number.hash_of(&(host_place, record.number));
        let entered = self.by_number.insert(hash, place);
        debug_assert!(entered.is_ok(), "it has a place for each message");
        self.count_in(place);
        self.queue_up(host_place, place, number);
        Ok(())
    }

    /// Puts a message at the end of its host's queue.
    fn queue_up(&mut self, host_place: u32, place: u32, number: NonZeroU64) {
        let Some(host) = entry_mut(&mut self.hosts, host_place) else {
            return;
        };
        let tail = core::mem::replace(&mut host.tail, place);
        host.queued += 1;
        match entry_mut(&mut self.messages, tail) {
            Some(last) => {
                host.is_sorted &= last.number < number;
                last.next = place;
            }
            None => host.head = place,
        }
    }

    fn take_newer_copy(&mut self, place: u32, slot: u32, offset: u32) {
        let number = |slot| self.segments.get(slot as usize).map(|it| it.number);
        let held = entry(&self.messages, place).map(|message| message.slot);
        if held.and_then(number) >= number(slot) {
            return;
        }
        self.count_out(place);
        if let Some(message) = entry_mut(&mut self.messages, place) {
            (message.slot, message.offset) = (slot, offset);
        }
        self.count_in(place);
    }

    fn enter_statement(
        &mut self,
        slot: u32,
        record: &RecordHeader,
        removed_through: u64,
    ) -> Result<(), IndexError> {
        let place = self.host_place(record.host)?;
        let Some(host) = entry_mut(&mut self.hosts, place) else {
            return Ok(());
        };
        let next = record.number.max(removed_through.saturating_add(1));
        host.next_number = host.next_number.max(next);
        if host.stated_in == NONE || host.stated <= record.sequence {
            let before = core::mem::replace(&mut host.stated_in, slot);
            host.stated = record.sequence;
            if let Some(segment) = self.segments.get_mut(before as usize) {
                unlink(&mut self.hosts, &mut segment.stated, place);
            }
            if let Some(segment) = self.segments.get_mut(slot as usize) {
                link(&mut self.hosts, &mut segment.stated, place);
            }
        }
        self.remove_at(place, removed_through);
        Ok(())
    }

    /// Removes a host's messages up to a number. Gives how many waited; numbers
    /// that were not given yet stay to come.
    pub fn remove(&mut self, host: ClientId, through: u64) -> u32 {
        let place = self.find_host(host);
        place.map_or(0, |place| self.remove_at(place, through))
    }

    /// Removes all of a host's messages, in O(1). Gives how many waited. Their
    /// segments are free of them when [`reap`](Self::reap) was there.
    pub fn delete(&mut self, host: ClientId) -> u32 {
        let place = self.find_host(host);
        let Some(host) = place.and_then(|place| entry_mut(&mut self.hosts, place)) else {
            return 0;
        };
        host.removed_through = host.next_number - 1;
        host.is_sorted = true;
        let head = core::mem::replace(&mut host.head, NONE);
        let tail = core::mem::replace(&mut host.tail, NONE);
        let removed = core::mem::take(&mut host.queued);
        if let Some(last) = entry_mut(&mut self.messages, tail) {
            last.next = core::mem::replace(&mut self.doomed, head);
        }
        self.doomed_len += removed;
        removed
    }

    /// Frees at most so many messages of deleted queues. Gives whether any was
    /// freed.
    pub fn reap(&mut self, messages_max: u32) -> bool {
        let mut freed = false;
        for _ in 0..messages_max.min(self.doomed_len) {
            let next = entry(&self.messages, self.doomed).map(|message| message.next);
            let place = core::mem::replace(&mut self.doomed, next.unwrap_or(NONE));
            self.free(place);
            self.doomed_len -= 1;
            freed = true;
        }
        freed
    }

    fn remove_at(&mut self, place: u32, through: u64) -> u32 {
        let Some(host) = entry_mut(&mut self.hosts, place) else {
            return 0;
        };
        let through = through.min(host.next_number - 1);
        host.removed_through = host.removed_through.max(through);
        let removed_through = host.removed_through;
        let mut removed = 0;
        // What is in disorder waits for `settle`.
        while let Some(host) = entry_mut(&mut self.hosts, place).filter(|host| host.is_sorted)
            && let Some(first) = entry(&self.messages, host.head)
            && first.number.get() <= removed_through
        {
            let gone = core::mem::replace(&mut host.head, first.next);
            if host.head == NONE {
                host.tail = NONE;
            }
            host.queued -= 1;
            self.free(gone);
            removed += 1;
        }
        removed
    }

    fn free(&mut self, place: u32) {
        self.count_out(place);
        self.by_number.remove(place);
        if let Some(key) = self.messages.key_at(place as usize) {
            self.messages.remove(key);
        }
    }

    /// Counts a message to its segment.
    fn count_in(&mut self, place: u32) {
        if let Some(message) = entry(&self.messages, place)
            && let Some(segment) = self.segments.get_mut(message.slot as usize)
        {
            segment.live_bytes += message.live_bytes();
            link(&mut self.messages, &mut segment.messages, place);
        }
    }

    fn count_out(&mut self, place: u32) {
        if let Some(message) = entry(&self.messages, place)
            && let Some(segment) = self.segments.get_mut(message.slot as usize)
        {
            segment.live_bytes -= message.live_bytes();
            unlink(&mut self.messages, &mut segment.messages, place);
        }
    }

    /// The place of a host, which is made if there is none.
    fn host_place(&mut self, id: ClientId) -> Result<u32, IndexError> {
        if let Some(place) = self.find_host(id) {
            return Ok(place);
        }
        let host = Host {
            id,
            next_number: 1,
            removed_through: 0,
            stated: 0,
            stated_in: NONE,
            beside: Beside::NONE,
            head: NONE,
            tail: NONE,
            queued: 0,
            is_sorted: true,
        };
        let key = self.hosts.insert(host);
        let place = key.map_err(|_| IndexError::HostsFull)?.index() as u32;
        let entered = self.by_id.insert(self.by_id.hash(&id.0), place);
        debug_assert!(entered.is_ok(), "it has a place for each host");
        Ok(place)
    }

    fn find_host(&self, id: ClientId) -> Option<u32> {
        let is_host = |place| entry(&self.hosts, place).is_some_and(|host| host.id == id);
        self.by_id.find(self.by_id.hash(&id.0), is_host)
    }

    fn place_of(&self, host: u32, number: u64) -> Option<u32> {
        let hash = self.by_number.hash_of(&(host, number));
        self.by_number.find(hash, |place| {
            entry(&self.messages, place)
                .is_some_and(|message| message.host == host && message.number.get() == number)
        })
    }

    /// What stands of a host; `None` if it never had a message.
    pub fn host(&self, id: ClientId) -> Option<HostState> {
        let host = entry(&self.hosts, self.find_host(id)?)?;
        Some(HostState {
            next_number: host.next_number,
            removed_through: host.removed_through,
            queued: host.queued,
        })
    }

    /// The messages of a host that wait, from a number on, in their order. If
    /// that number does not wait, those before it are passed one by one.
    pub fn queue(&self, id: ClientId, from: u64) -> impl Iterator<Item = Queued> {
        let host_place = self.find_host(id);
        let head = host_place.and_then(|place| entry(&self.hosts, place));
        let here = host_place.and_then(|place| self.place_of(place, from));
        let waits = head.is_some_and(|host| host.removed_through < from);
        let first = here
            .filter(|_| waits)
            .or_else(|| head.map(|host| host.head));
        let first = first.and_then(|place| entry(&self.messages, place));
        core::iter::successors(first, |message| entry(&self.messages, message.next))
            .map(Message::queued)
            .skip_while(move |message| message.number < from)
    }

    /// What stands of a segment; `None` if none was begun in the slot.
    pub fn segment(&self, slot: u32) -> Option<SegmentState> {
        let segment = self.segments.get(slot as usize)?;
        let state = SegmentState {
            number: segment.number,
            live_bytes: segment.live_bytes,
        };
        (segment.number > 0).then_some(state)
    }

    /// Whether nothing in the slot is needed: it may be begun anew.
    pub fn is_clear(&self, slot: u32) -> bool {
        self.segments
            .get(slot as usize)
            .is_none_or(Segment::is_clear)
    }

    /// The messages that wait in a segment, in no order.
    pub fn messages_in(&self, slot: u32) -> impl Iterator<Item = (ClientId, Queued)> {
        let segment = self.segments.get(slot as usize);
        let first = segment.and_then(|segment| entry(&self.messages, segment.messages));
        core::iter::successors(first, |it| entry(&self.messages, it.beside.behind)).filter_map(
            |message| {
                let host = entry(&self.hosts, message.host)?;
                let waits = message.number.get() > host.removed_through;
                waits.then_some((host.id, message.queued()))
            },
        )
    }

    /// The hosts whose latest statement is in a segment, in no order.
    pub fn stated_in(&self, slot: u32) -> impl Iterator<Item = ClientId> {
        let segment = self.segments.get(slot as usize);
        let first = segment.and_then(|segment| entry(&self.hosts, segment.stated));
        core::iter::successors(first, |host| entry(&self.hosts, host.beside.behind))
            .map(|host| host.id)
    }

    /// How many messages wait.
    pub const fn len(&self) -> usize {
        self.messages.len() - self.doomed_len as usize
    }

    /// Whether none waits.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many hosts ever had a message.
    pub const fn hosts(&self) -> usize {
        self.hosts.len()
    }
}

impl Segment {
    const fn is_clear(&self) -> bool {
        self.messages == NONE && self.stated == NONE
    }
}

impl fmt::Debug for SpoolIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolIndex")
            .field("hosts", &self.hosts.len())
            .field("messages", &self.len())
            .finish_non_exhaustive()
    }
}
