//! The pool of buffers against a list of capacities.

use alloc::vec::Vec;

use super::Script;
use crate::collections::Pool;

/// See [`collections::model`](super).
pub fn check_model(data: &[u8]) {
    let mut script = Script(data);
    let _ = run(&mut script);
}

fn run(script: &mut Script<'_>) -> Option<()> {
    let buffers_max = script.byte()? % 4;
    let bytes_max = script.number(14)? as usize;
    let mut pair = Pair {
        pool: Pool::new(u32::from(buffers_max), bytes_max),
        kept: Vec::new(),
        buffers_max: usize::from(buffers_max),
        largest: match bytes_max {
            0 => 0,
            bytes => bytes.max(64).next_power_of_two(),
        },
    };
    let mut in_use = Vec::new();
    while let Some(op) = script.byte() {
        match op % 4 {
            0 | 1 => in_use.push(pair.take(script.number(16)? as usize)),
            2 => {
                let which = script.byte()? as usize % in_use.len().max(1);
                if which < in_use.len() {
                    pair.give(in_use.swap_remove(which));
                }
            }
            // One that was not the pool's, and has an odd size.
            _ => pair.give(Vec::with_capacity(script.number(16)? as usize)),
        }
        pair.check();
    }
    Some(())
}

struct Pair {
    pool: Pool,
    kept: Vec<usize>,
    buffers_max: usize,
    largest: usize,
}

impl Pair {
    fn take(&mut self, bytes_min: usize) -> Vec<u8> {
        let wanted = bytes_min.max(64).next_power_of_two();
        let usable = |bytes: &usize| *bytes >= wanted && wanted <= self.largest;
        let size = self.kept.iter().copied().filter(usable).map(floor).min();
        let mut buffer = self.pool.take(bytes_min);
        assert!(buffer.is_empty());
        assert!(buffer.capacity() >= bytes_min);
        if let Some(size) = size {
            assert_eq!(floor(buffer.capacity()), size, "not the smallest that fits");
            let at = self
                .kept
                .iter()
                .position(|bytes| *bytes == buffer.capacity());
            self.kept
                .swap_remove(at.expect("a buffer that was not kept"));
        }
        buffer.resize(bytes_min, 1);
        buffer
    }

    fn give(&mut self, buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        let size = floor(bytes);
        let like = self.kept.iter().filter(|kept| floor(**kept) == size);
        if bytes >= 64 && size <= self.largest && like.count() < self.buffers_max {
            self.kept.push(bytes);
        }
        self.pool.give(buffer);
    }

    fn check(&self) {
        let bytes = self.kept.iter().sum::<usize>();
        assert_eq!(self.pool.retained(), self.kept.len());
        assert_eq!(self.pool.retained_bytes(), bytes);
        assert!(bytes <= 4 * self.buffers_max * self.largest);
    }
}

/// The power of two at or below `bytes`.
fn floor(bytes: usize) -> usize {
    bytes.checked_ilog2().map_or(0, |log| 1 << log)
}
