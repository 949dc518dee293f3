//! The list by last use against a queue.

use alloc::collections::VecDeque;

use super::Script;
use crate::collections::Lru;

/// See [`collections::model`](super).
pub fn check_model(data: &[u8]) {
    let mut script = Script(data);
    let _ = run(&mut script);
}

fn run(script: &mut Script<'_>) -> Option<()> {
    let places_max = u32::from(script.short()? % 600);
    let mut lru = Lru::new(places_max);
    // From the oldest to the newest.
    let mut model = VecDeque::new();
    while let Some(op) = script.byte() {
        let place = u32::from(script.short()? % 610);
        let at = model.iter().position(|other| *other == place);
        assert_eq!(lru.contains(place), at.is_some());
        match op % 5 {
            0 | 1 => {
                let enters = at.is_none() && place < places_max;
                assert_eq!(lru.push_front(place), enters);
                if enters {
                    model.push_back(place);
                }
            }
            2 => {
                assert_eq!(lru.touch(place), at.is_some());
                if let Some(at) = at {
                    model.remove(at);
                    model.push_back(place);
                }
            }
            3 => {
                assert_eq!(lru.remove(place), at.is_some());
                if let Some(at) = at {
                    model.remove(at);
                }
            }
            _ => assert_eq!(lru.pop_oldest(), model.pop_front()),
        }
        assert_eq!(lru.len(), model.len());
        assert_eq!(lru.is_empty(), model.is_empty());
        assert_eq!(lru.newest(), model.back().copied());
        let walk = core::iter::successors(lru.oldest(), |place| lru.newer(*place));
        assert!(walk.eq(model.iter().copied()));
    }
    Some(())
}
