//! The ready list against a queue.

use alloc::collections::VecDeque;

use super::Script;
use crate::collections::ReadyList;

/// See [`collections::model`](super).
pub fn check_model(data: &[u8]) {
    let mut script = Script(data);
    let _ = run(&mut script);
}

fn run(script: &mut Script<'_>) -> Option<()> {
    let places_max = u32::from(script.short()? % 600);
    let mut list = ReadyList::new(places_max);
    let mut model = VecDeque::new();
    while let Some(op) = script.byte() {
        let place = u32::from(script.short()? % 610);
        let at = model.iter().position(|other| *other == place);
        assert_eq!(list.contains(place), at.is_some());
        match op % 4 {
            0 | 1 => {
                let enters = at.is_none() && place < places_max;
                assert_eq!(list.push(place), enters);
                if enters {
                    model.push_back(place);
                }
            }
            2 => {
                assert_eq!(list.remove(place), at.is_some());
                if let Some(at) = at {
                    model.remove(at);
                }
            }
            _ => assert_eq!(list.pop(), model.pop_front()),
        }
        assert_eq!(list.peek(), model.front().copied());
        assert_eq!(list.len(), model.len());
        assert_eq!(list.is_empty(), model.is_empty());
    }
    while let Some(place) = model.pop_front() {
        assert_eq!(list.pop(), Some(place));
    }
    assert_eq!(list.pop(), None);
    Some(())
}
