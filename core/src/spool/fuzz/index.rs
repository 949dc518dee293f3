//! The index against maps that are searched.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::ClientId;
use crate::collections::model::Script;
use crate::spool::format::{RecordHeader, RecordKind};
use crate::spool::index::{HostState, IndexError, IndexLimits, SpoolIndex};

const HOSTS: u8 = 4;
const SEGMENTS: u32 = 5;
const LIMITS: IndexLimits = IndexLimits {
    hosts_max: HOSTS as u32,
    messages_max: 40,
    segments_max: SEGMENTS,
};

/// Any bytes as what happens to a spool, and the order in which it is found
/// again.
pub fn index(data: &[u8]) {
    let mut pair = Pair::new();
    let _ = pair.run(&mut Script(data));
}

#[derive(Default)]
struct Host {
    next_number: u64,
    removed_through: u64,
    /// Which statement counts, and its slot.
    stated: Option<(u64, u32)>,
    queue: BTreeMap<u64, RecordHeader>,
}

struct Pair {
    index: SpoolIndex,
    hosts: BTreeMap<u8, Host>,
    /// By slot: the number of the use and what was written.
    segments: BTreeMap<u32, (u64, Vec<RecordHeader>)>,
    slot: u32,
    sequence: u64,
    /// Messages of deleted queues that are not freed.
    doomed: u32,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            index: SpoolIndex::new(LIMITS, [3; 16]),
            hosts: BTreeMap::new(),
            segments: BTreeMap::new(),
            slot: 0,
            sequence: 0,
            doomed: 0,
        };
        pair.begin(0);
        pair
    }

    fn run(&mut self, script: &mut Script<'_>) -> Option<()> {
        loop {
            let op = script.byte()?;
            let host = script.byte()? % (HOSTS + 1);
            match op % 16 {
                0..6 => self.append(host, script.byte()?),
                6 | 7 => self.remove(host, script.number(4)?),
                8 => self.delete(host),
                9 | 10 => self.state(host),
                11 => self.copy(host, script.byte()?),
                12 => self.begin(u32::from(script.byte()?) % (SEGMENTS + 1)),
                13 => self.reap(script.byte()? % 4),
                14 => self.lose(host, script.byte()?),
                _ => self.rebuild(script)?,
            }
            self.compare();
        }
    }

    fn record(&mut self, host: u8, number: u64, body: u8, kind: RecordKind) -> RecordHeader {
        self.sequence += 1;
        RecordHeader {
            segment: self.segments[&self.slot].0,
            offset: 4_096 + 8 * self.sequence as u32,
            body_bytes: body.into(),
            body_checksum: 0,
            kind,
            sequence: self.sequence,
            host: ClientId([host; 16]),
            number,
        }
    }

    fn write(&mut self, record: RecordHeader) -> Result<(), IndexError> {
        let told = self.index.enter(self.slot, &record);
        if told.is_ok() {
            self.segments.get_mut(&self.slot).unwrap().1.push(record);
        }
        told
    }

    fn waiting(&self) -> usize {
        self.hosts.values().map(|host| host.queue.len()).sum()
    }

    fn append(&mut self, host: u8, body: u8) {
        let next = self.hosts.get(&host).map_or(1, |host| host.next_number);
        let kind = RecordKind::Message {
            priority: body ^ 1,
            expires_at: u32::from(body) << 20,
        };
        let record = self.record(host, next, body, kind);
        let held = self.waiting() + self.doomed as usize;
        let told = self.write(record);
        if !self.hosts.contains_key(&host) && self.hosts.len() == usize::from(HOSTS) {
            assert_eq!(told, Err(IndexError::HostsFull));
            return;
        }
        let full = self.waiting() == LIMITS.messages_max as usize;
        let host = self.hosts.entry(host).or_default();
        host.next_number = next + 1;
        if full {
            assert_eq!(told, Err(IndexError::MessagesFull));
            return;
        }
        assert_eq!(told, Ok(()));
        host.queue.insert(next, record);
        if held == LIMITS.messages_max as usize {
            self.doomed -= 1;
        }
    }

    fn remove(&mut self, host: u8, ahead: u64) {
        let mut removed = 0;
        let mut through = ahead;
        if let Some(host) = self.hosts.get_mut(&host) {
            through += host.removed_through;
            let end = through.min(host.next_number - 1);
            host.removed_through = host.removed_through.max(end);
            let left = host.queue.split_off(&(end + 1));
            removed = core::mem::replace(&mut host.queue, left).len();
        }
        assert_eq!(
            self.index.remove(ClientId([host; 16]), through),
            removed as u32
        );
    }

    fn delete(&mut self, host: u8) {
        let mut removed = 0;
        if let Some(host) = self.hosts.get_mut(&host) {
            host.removed_through = host.next_number - 1;
            removed = core::mem::take(&mut host.queue).len() as u32;
        }
        assert_eq!(self.index.delete(ClientId([host; 16])), removed);
        self.doomed += removed;
    }

    fn reap(&mut self, messages: u8) {
        let freed = self.index.reap(messages.into());
        assert_eq!(freed, messages > 0 && self.doomed > 0);
        self.doomed = self.doomed.saturating_sub(messages.into());
    }

    fn state(&mut self, host: u8) {
        let Some(state) = self.hosts.get(&host) else {
            return;
        };
        let removed_through = state.removed_through;
        let kind = RecordKind::Statement { removed_through };
        let record = self.record(host, state.next_number, 0, kind);
        assert_eq!(self.write(record), Ok(()));
        self.hosts.get_mut(&host).unwrap().stated = Some((record.sequence, self.slot));
    }

    /// What was removed counts at the next start if it was stated.
    fn state_all(&mut self) {
        for host in 0..=HOSTS {
            self.state(host);
        }
    }

    /// As compaction does it.
    fn copy(&mut self, host: u8, choice: u8) {
        let queue = self.hosts.get(&host).map(|host| &host.queue);
        let chosen = queue.and_then(|queue| queue.values().nth(choice.into()));
        let Some(old) = chosen.copied() else {
            return;
        };
        let new = self.record(host, old.number, old.body_bytes as u8, old.kind);
        assert_eq!(self.write(new), Ok(()));
        if new.segment > old.segment {
            let queue = &mut self.hosts.get_mut(&host).unwrap().queue;
            queue.insert(old.number, new);
        }
    }

    /// Begins the newest segment.
    fn begin(&mut self, slot: u32) {
        let number = 1 + self.segments.values().map(|it| it.0).max().unwrap_or(0);
        self.reap(u8::MAX);
        let told = self.index.begin(slot, number);
        if slot >= SEGMENTS {
            assert_eq!(told, Err(IndexError::NoSegment(slot)));
            return;
        }
        if self.is_used(slot) {
            assert_eq!(told, Err(IndexError::InUse(slot)));
            return;
        }
        assert_eq!(told, Ok(()));
        self.segments.insert(slot, (number, Vec::new()));
        self.slot = slot;
    }

    fn is_used(&self, slot: u32) -> bool {
        let Some((number, _)) = self.segments.get(&slot) else {
            return false;
        };
        self.hosts.values().any(|host| {
            host.stated.is_some_and(|(_, stated)| stated == slot)
                || host.queue.values().any(|it| it.segment == *number)
        })
    }

    /// A record is damaged: the next start does not find it.
    fn lose(&mut self, host: u8, choice: u8) {
        let queue = self.hosts.get(&host).map(|host| &host.queue);
        let number = queue.and_then(|queue| queue.keys().nth(choice.into()));
        let Some(number) = number.copied() else {
            return;
        };
        self.state_all();
        for (_, records) in self.segments.values_mut() {
            let is_it = |it: &RecordHeader| {
                it.host.0[0] == host
                    && it.number == number
                    && matches!(it.kind, RecordKind::Message { .. })
            };
            records.retain(|record| !is_it(record));
        }
        self.hosts.get_mut(&host).unwrap().queue.remove(&number);
        self.scan_again(&self.order());
    }

    /// The slots from the newest use to the oldest.
    fn order(&self) -> Vec<u32> {
        let uses = self.segments.iter().map(|(slot, it)| (it.0, *slot));
        let uses: BTreeMap<_, _> = uses.collect();
        uses.into_values().rev().collect()
    }

    /// A start: what is known comes from the segments alone.
    fn rebuild(&mut self, script: &mut Script<'_>) -> Option<()> {
        self.state_all();
        let mut order = self.order();
        for at in (1..order.len()).rev() {
            order.swap(at, usize::from(script.byte()?) % (at + 1));
        }
        self.scan_again(&order);
        Some(())
    }

    fn scan_again(&mut self, order: &[u32]) {
        // Room for what a later statement removes.
        let limits = IndexLimits {
            messages_max: 10_000,
            ..LIMITS
        };
        let mut wide = SpoolIndex::new(limits, [4; 16]);
        for slot in order {
            wide.begin(*slot, self.segments[slot].0).unwrap();
        }
        for slot in order {
            for record in &self.segments[slot].1 {
                assert_eq!(wide.enter(*slot, record), Ok(()));
            }
        }
        wide.settle();
        // The same, in little room, from the newest on until all found it.
        let mut index = SpoolIndex::new(LIMITS, [5; 16]);
        for slot in order {
            index.begin(*slot, self.segments[slot].0).unwrap();
        }
        for _ in 0..2 {
            for slot in self.order() {
                for record in &self.segments[&slot].1 {
                    let told = index.enter(slot, record);
                    assert!(matches!(told, Ok(()) | Err(IndexError::MessagesFull)));
                }
            }
            index.settle();
        }
        self.doomed = 0;
        self.index = wide;
        self.compare_all();
        self.index = index;
    }

    fn compare(&mut self) {
        let waiting = self.waiting();
        assert_eq!(self.index.len(), waiting);
        assert_eq!(self.index.is_empty(), waiting == 0);
        assert_eq!(self.index.hosts(), self.hosts.len());
        self.compare_all();
    }

    fn compare_all(&self) {
        for host in 0..=HOSTS {
            let id = ClientId([host; 16]);
            let model = self.hosts.get(&host);
            let state = model.map(|host| HostState {
                next_number: host.next_number,
                removed_through: host.removed_through,
                queued: host.queue.len() as u32,
            });
            assert_eq!(self.index.host(id), state, "host {host}");
            let Some(model) = model else {
                assert_eq!(self.index.queue(id, 0).count(), 0);
                continue;
            };
            for from in [
                0,
                model.removed_through,
                model.removed_through + 3,
                u64::MAX,
            ] {
                let queue = self
                    .index
                    .queue(id, from)
                    .map(|it| (it.number, it.slot, it.offset));
                let expected = model.queue.range(from..).map(|(number, record)| {
                    let in_it = |(_, it): &(&u32, &(u64, _))| it.0 == record.segment;
                    let slot = self.segments.iter().find(in_it).unwrap().0;
                    (*number, *slot, record.offset)
                });
                assert!(queue.eq(expected), "host {host} from {from}");
            }
        }
        for slot in 0..=SEGMENTS {
            self.compare_segment(slot);
        }
    }

    fn compare_segment(&self, slot: u32) {
        let number = self.segments.get(&slot).map(|it| it.0);
        let state = self.index.segment(slot);
        assert_eq!(state.map(|it| it.number), number);
        let messages: BTreeSet<_> = self
            .index
            .messages_in(slot)
            .map(|it| (it.0.0[0], it.1.number))
            .collect();
        let mut live_bytes = 0;
        let mut expected = BTreeSet::new();
        for (host, model) in &self.hosts {
            for record in model.queue.values().filter(|it| Some(it.segment) == number) {
                live_bytes += u64::from(record.record_bytes());
                expected.insert((*host, record.number));
            }
        }
        assert_eq!(messages, expected);
        let held = state.map_or(0, |it| it.live_bytes);
        assert!(held >= live_bytes && (self.doomed > 0 || held == live_bytes));
        let stated: BTreeSet<_> = self.index.stated_in(slot).map(|id| id.0[0]).collect();
        let in_it = |(_, host): &(&u8, &Host)| host.stated.is_some_and(|it| it.1 == slot);
        let expected: BTreeSet<_> = self.hosts.iter().filter(in_it).map(|it| *it.0).collect();
        assert_eq!(stated, expected);
        if self.doomed == 0 {
            assert_eq!(self.index.is_clear(slot), !self.is_used(slot));
        }
    }
}
