use super::*;
use alloc::vec::Vec;

const SUBNET: Key = key(3);

const fn key(index: u32) -> Key {
    Key::new(index, 0)
}

fn spread(id: u64) -> Spread {
    Spread {
        notification: key(1),
        id: NotificationId(id),
        site: None,
        begun: false,
        place: 0,
    }
}

/// The notifications of a subnet's queue in the order of their turns; each walk
/// ends at once.
fn drain(fanout: &mut Fanout, subnet: Key) -> Vec<(usize, bool)> {
    let mut order = Vec::new();
    while let Some(turn) = fanout.next_turn(subnet) {
        let task = fanout.task(turn.task).expect("it is there");
        order.push((task.notification.index(), task.only.is_some()));
        match turn.source {
            Source::Walk => fanout.end_walk(subnet),
            _ => fanout.finish(subnet, turn),
        }
    }
    order
}

/// The walk comes to a member whose way is not free.
fn leave_behind(fanout: &mut Fanout, client: Key, lane: Lane) {
    let turn = fanout.next_turn(SUBNET).expect("somebody is next");
    assert_eq!(turn.source, Source::Walk);
    if fanout.waits_already(SUBNET, client, turn.task) != Waits::Already {
        assert!(fanout.delay(SUBNET, client, turn, lane));
    }
}

/// Who waits for a peer, and for what, in order.
fn with_room(fanout: &mut Fanout) -> Vec<(usize, usize)> {
    fanout.handle_room(SUBNET);
    let mut order = Vec::new();
    while let Some(turn) = fanout.next_turn(SUBNET)
        && turn.source != Source::Walk
    {
        let client = turn.client.expect("one that waited");
        let task = fanout.task(turn.task).expect("it is there");
        order.push((client.index(), task.notification.index()));
        fanout.finish(SUBNET, turn);
    }
    order
}

#[test]
fn single_ones_go_before_those_for_all() {
    let mut fanout = Fanout::new(8);
    assert_eq!(fanout.push_all(SUBNET, key(1), true), Ok(()));
    assert_eq!(fanout.push_all(SUBNET, key(2), true), Ok(()));
    assert_eq!(fanout.push_one(SUBNET, key(7), key(4)), Ok(()));
    assert_eq!(fanout.push_one(SUBNET, key(7), key(6)), Ok(()));
    assert_eq!(fanout.next_subnet(), Some(3));
    assert_eq!(fanout.next_subnet(), None, "each subnet once");
    assert_eq!(
        drain(&mut fanout, SUBNET),
        [(4, true), (6, true), (1, false), (2, false)],
        "in the order they came"
    );
    assert!(fanout.is_empty());
    assert_eq!(fanout.push_all(SUBNET, key(5), true), Ok(()));
    assert_eq!(drain(&mut fanout, SUBNET), [(5, false)], "it goes on");
}

#[test]
fn who_waits_holds_up_no_other() {
    let mut fanout = Fanout::new(8);
    for (client, notification) in [(1, 10), (2, 11), (1, 12)] {
        let pushed = fanout.push_one(SUBNET, key(client), key(notification));
        assert_eq!(pushed, Ok(()));
    }
    assert_eq!(fanout.push_all(SUBNET, key(20), true), Ok(()));
    let first = fanout.next_turn(SUBNET).expect("a task");
    assert!(fanout.delay(SUBNET, key(1), first, Lane::Peer));
    let second = fanout.next_turn(SUBNET).expect("a task");
    assert_eq!(second.client, Some(key(2)), "the first waits by itself");
    fanout.finish(SUBNET, second);
    let third = fanout.next_turn(SUBNET).expect("a task");
    assert!(fanout.delay(SUBNET, key(1), third, Lane::Peer));
    leave_behind(&mut fanout, key(5), Lane::Peer);
    fanout.end_walk(SUBNET);
    assert!(fanout.next_turn(SUBNET).is_none(), "nothing is tried again");
    assert_eq!(with_room(&mut fanout), [(1, 10), (1, 12), (5, 20)]);
    assert!(fanout.is_empty());
}

#[test]
fn a_member_that_waits_is_parked_once_for_all_that_goes_by() {
    let mut fanout = Fanout::new(8);
    for notification in [20, 21, 22] {
        assert_eq!(fanout.push_all(SUBNET, key(notification), true), Ok(()));
    }
    leave_behind(&mut fanout, key(5), Lane::Peer);
    fanout.end_walk(SUBNET);
    leave_behind(&mut fanout, key(5), Lane::Peer);
    leave_behind(&mut fanout, key(6), Lane::Peer);
    fanout.end_walk(SUBNET);
    // The third walk has come to one of them.
    leave_behind(&mut fanout, key(6), Lane::Peer);
    let waited = with_room(&mut fanout);
    assert_eq!(waited, [(5, 20), (5, 21), (6, 21), (6, 22)]);
    assert!(!fanout.is_empty(), "the walk goes on");
    fanout.end_walk(SUBNET);
    assert!(fanout.is_empty());
}

#[test]
fn who_waits_changes_from_lane_to_lane() {
    let mut fanout = Fanout::new(8);
    assert_eq!(fanout.push_one(SUBNET, key(4), key(19)), Ok(()));
    assert_eq!(fanout.push_all(SUBNET, key(20), true), Ok(()));
    let single = fanout.next_turn(SUBNET).expect("a task");
    assert!(fanout.delay(SUBNET, key(4), single, Lane::Rate));
    leave_behind(&mut fanout, key(5), Lane::Rate);
    fanout.end_walk(SUBNET);
    assert_eq!(fanout.next_paced(), Some(3));
    for client in [4, 5] {
        let turn = fanout.next_paced_turn(SUBNET).expect("one waits");
        assert_eq!(turn.client, Some(key(client)));
        assert!(fanout.delay(SUBNET, key(client), turn, Lane::Peer));
    }
    fanout.turn_paced();
    assert_eq!(fanout.next_paced(), None);
    assert_eq!(with_room(&mut fanout), [(4, 19), (5, 20)]);
    assert!(fanout.is_empty());
}

#[test]
fn subnets_take_turns_at_the_rate() {
    let mut fanout = Fanout::new(8);
    for subnet in [key(1), key(2)] {
        for client in 0..2 {
            assert_eq!(fanout.push_one(subnet, key(client), key(9)), Ok(()));
            let turn = fanout.next_turn(subnet).expect("a task");
            assert!(fanout.delay(subnet, key(client), turn, Lane::Rate));
        }
    }
    let mut order = Vec::new();
    while let Some(place) = fanout.next_paced() {
        order.push(place);
        let turn = fanout.next_paced_turn(key(place)).expect("one waits");
        fanout.finish(key(place), turn);
        fanout.turn_paced();
    }
    assert_eq!(order, [1, 2, 1, 2]);
    assert!(fanout.is_empty());
}

#[test]
fn who_waits_elsewhere_or_is_another_now_is_left_behind_anew() {
    let mut fanout = Fanout::new(8);
    let other = key(4);
    assert_eq!(fanout.push_all(other, key(1), true), Ok(()));
    let turn = fanout.next_turn(other).expect("a walk");
    assert!(fanout.delay(other, key(5), turn, Lane::Peer));
    assert!(fanout.delay(other, key(6), turn, Lane::Peer));
    fanout.end_walk(other);

    assert_eq!(fanout.push_all(SUBNET, key(2), true), Ok(()));
    leave_behind(&mut fanout, key(5), Lane::Peer);
    // A client at the place of one that is gone.
    leave_behind(&mut fanout, Key::new(6, 1), Lane::Peer);
    assert!(fanout.queues[4].groups.is_empty(), "nobody waits there");
    fanout.end_walk(SUBNET);
    assert_eq!(with_room(&mut fanout), [(5, 2), (6, 2)]);
    assert!(fanout.is_empty());
}

#[test]
fn what_a_client_waited_for_where_it_left_is_told_of() {
    let mut fanout = Fanout::new(8);
    for notification in [20, 21, 22] {
        assert_eq!(fanout.push_all(SUBNET, key(notification), true), Ok(()));
        leave_behind(&mut fanout, key(5), Lane::Peer);
        fanout.end_walk(SUBNET);
    }
    // One of them it gets.
    fanout.handle_room(SUBNET);
    let turn = fanout.next_turn(SUBNET).expect("it waits");
    fanout.finish(SUBNET, turn);
    let other = key(4);
    assert_eq!(fanout.push_all(other, key(23), true), Ok(()));
    let turn = fanout.next_turn(other).expect("a walk");
    let waits = fanout.waits_already(other, key(5), turn.task);
    assert_eq!(waits, Waits::Not { given_up: 2 });
    // Another client at its place gives up nothing of its own.
    assert!(fanout.delay(other, key(5), turn, Lane::Peer));
    let waits = fanout.waits_already(other, Key::new(5, 1), turn.task);
    assert_eq!(waits, Waits::Not { given_up: 0 });
    fanout.end_walk(other);
    assert!(fanout.is_empty());
}

#[test]
fn a_place_with_another_subnet_begins_anew() {
    let mut fanout = Fanout::new(8);
    let (former, next) = (Key::new(3, 0), Key::new(3, 1));
    assert_eq!(fanout.push_all(former, key(1), true), Ok(()));
    for client in [5, 6, 7] {
        leave_behind(&mut fanout, key(client), Lane::Peer);
    }
    assert_eq!(fanout.push_all(next, key(5), true), Ok(()));
    assert_eq!(drain(&mut fanout, next), [(5, false)]);
    assert!(fanout.is_empty(), "what waited for the former is gone");

    // Who was left behind there waits nowhere, and can wait anew.
    assert_eq!(fanout.push_all(next, key(8), true), Ok(()));
    for client in [6, 7, 5] {
        let turn = fanout.next_turn(next).expect("a walk");
        let waits = fanout.waits_already(next, key(client), turn.task);
        assert_eq!(waits, Waits::Not { given_up: 1 });
        assert!(fanout.delay(next, key(client), turn, Lane::Peer));
    }
    fanout.end_walk(next);
    fanout.handle_room(next);
    let mut order = Vec::new();
    while let Some(turn) = fanout.next_turn(next) {
        order.push(turn.client.map(Key::index));
        fanout.finish(next, turn);
    }
    assert_eq!(order, [Some(6), Some(7), Some(5)]);
    assert!(fanout.is_empty());
}

#[test]
fn the_queues_are_bounded_together_and_none_takes_all() {
    let mut fanout = Fanout::new(64);
    for _ in 0..TASKS_PER_SUBNET_MAX {
        assert_eq!(fanout.push_all(key(0), key(1), true), Ok(()));
    }
    let pushed = fanout.push_all(key(0), key(1), true);
    assert_eq!(pushed, Err(NoRoom::Subnet));
    let pushed = fanout.push_one(key(0), key(1), key(1));
    assert_eq!(pushed, Err(NoRoom::Subnet));
    // However many take what they can get, there is room for one more.
    for subnet in 1..50 {
        while fanout.push_one(key(subnet), key(1), key(1)).is_ok() {}
    }
    assert_eq!(fanout.push_one(key(63), key(1), key(1)), Ok(()));
    fanout.spread(spread(1), 1, |_| true);
    assert!(fanout.next_spread().is_some());
}

#[test]
fn a_subnet_that_is_gone_takes_its_queue_along() {
    let mut fanout = Fanout::new(8);
    assert_eq!(fanout.push_all(SUBNET, key(1), true), Ok(()));
    leave_behind(&mut fanout, key(5), Lane::Rate);
    assert_eq!(fanout.push_one(SUBNET, key(5), key(2)), Ok(()));
    fanout.drop_queue(3);
    assert!(fanout.is_empty());
    assert_eq!((fanout.next_subnet(), fanout.next_paced()), (None, None));
}

#[test]
fn there_are_no_more_spreads_than_notifications_that_live() {
    let mut fanout = Fanout::new(1);
    // Each one has expired when the next one is made.
    for id in 1..100 {
        fanout.spread(spread(id), 1, |other| other.0 == id);
        assert_eq!(fanout.spreads.len(), 1);
    }
    fanout.spread(spread(100), 2, |_| true);
    assert_eq!(fanout.spreads.len(), 2);
}
