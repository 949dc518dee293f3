use alloc::vec::Vec;
use core::time::Duration;

use super::*;

const SUBNET: Key = Key::new(3, 2);
const NOTE: Key = Key::new(0, 0);
const LIMITS: RouterLimits = RouterLimits {
    legs_max: 8,
    legs_per_line_max: 4,
    legs_per_subnet_max: 16,
    served_timeout: Duration::from_secs(10),
    sulk: Duration::from_secs(60),
};

fn line(place: u32) -> Key {
    Key::new(place, 7)
}

fn client(place: u32) -> Key {
    Key::new(place, 1)
}

/// A router with so many lines in one subnet, each for so many legs.
fn router(lines: u32, room: u32) -> Router {
    let mut router = Router::new(LIMITS, 16, 64, Random::from_seed([5; 32]));
    for place in 0..lines {
        router.handle_line_opened(line(place), SUBNET, room);
    }
    router
}

fn route(router: &mut Router, to: Key) -> Way {
    router.route(Instant::ORIGIN, to, SUBNET, true, false)
}

fn assign(router: &mut Router, to: Key) -> Key {
    let Way::Peer(line) = route(router, to) else {
        panic!("no peer for {to:?}");
    };
    assert_eq!(router.assign(line, to, NOTE), Ok(()));
    line
}

fn told(router: &mut Router) -> Vec<RouterEffect> {
    core::iter::from_fn(|| router.poll()).collect()
}

fn wait(router: &mut Router, span: Duration) -> Vec<RouterEffect> {
    router.handle_timeout(router.now + span);
    told(router)
}

const fn served(client: Key) -> RouterEffect {
    RouterEffect::Served {
        client,
        notification: NOTE,
    }
}

const fn reroute(client: Key) -> RouterEffect {
    RouterEffect::Reroute {
        client,
        notification: NOTE,
    }
}

const ROOM: RouterEffect = RouterEffect::Room { subnet: SUBNET };

#[test]
fn p3_exactly_one_peer_when_two_serve_the_subnet() {
    let mut router = router(2, 4);
    let chosen = assign(&mut router, client(1));
    for other in [line(0), line(1)] {
        let again = router.assign(other, client(1), NOTE);
        assert_eq!(again, Err(RouteRefusal::OnItsWay));
    }
    let legs = |router: &Router, line| router.next_batch(line).count();
    assert_eq!(legs(&router, line(0)) + legs(&router, line(1)), 1);
    let sequence = router.begin_batch(Instant::ORIGIN, chosen, 1).unwrap();
    let again = router.assign(chosen, client(1), NOTE);
    assert_eq!(again, Err(RouteRefusal::OnItsWay), "until it is confirmed");
    assert!(router.handle_served(chosen, sequence));
    assert_eq!(told(&mut router), [served(client(1))]);
    assert!(wait(&mut router, Duration::from_secs(3_600)).is_empty());
}

#[test]
fn the_peers_share_the_work() {
    let mut router = router(3, 4);
    let mut lines: Vec<_> = (0..6)
        .map(|at| assign(&mut router, client(at)).index())
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, [0, 0, 1, 1, 2, 2]);
}

#[test]
fn p4_a_peer_that_vanishes_is_replaced() {
    let mut router = router(2, 4);
    let first = assign(&mut router, client(1));
    router.begin_batch(Instant::ORIGIN, first, 1).unwrap();
    let second = router.route(Instant::ORIGIN, client(2), SUBNET, true, false);
    assert_eq!(router.assign(first, client(2), NOTE), Ok(()), "{second:?}");
    router.handle_line_closed(first);
    assert_eq!(told(&mut router), [reroute(client(1)), reroute(client(2))]);
    let other = assign(&mut router, client(1));
    assert_ne!(other, first);
    assert_eq!(router.line_state(first), LineState::Closed);
    let late = router.assign(first, client(3), NOTE);
    assert_eq!(late, Err(RouteRefusal::UnknownLine));
}

#[test]
fn p4_a_peer_that_stays_silent_is_replaced_and_rests() {
    let mut router = router(2, 4);
    let silent = assign(&mut router, client(1));
    let sequence = router.begin_batch(Instant::ORIGIN, silent, 1).unwrap();
    assert_eq!(router.assign(silent, client(2), NOTE), Ok(()), "queued");
    let just_before = LIMITS.served_timeout - Duration::from_millis(1);
    assert_eq!(wait(&mut router, just_before), []);
    let lost = wait(&mut router, Duration::from_millis(1));
    assert_eq!(lost, [reroute(client(1)), reroute(client(2))]);
    assert_eq!(router.line_state(silent), LineState::Sulking);
    for at in 1..5 {
        assert_ne!(assign(&mut router, client(at)), silent);
    }
    assert!(
        router.handle_served(silent, sequence),
        "too late, not wrong"
    );
    assert_eq!(told(&mut router), []);
    let forgiven = wait(&mut router, LIMITS.sulk);
    assert_eq!(forgiven, [], "nobody waited");
    assert_eq!(assign(&mut router, client(9)), silent);
}

#[test]
fn a_peer_that_confirms_batch_after_batch_is_not_silent() {
    let mut router = router(1, 4);
    for at in 0..4 {
        assert_eq!(assign(&mut router, client(at)), line(0));
        assert_eq!(router.begin_batch(router.now, line(0), 1), Some(at + 1));
    }
    let just_before = LIMITS.served_timeout - Duration::from_millis(1);
    for at in 0..3 {
        assert_eq!(wait(&mut router, just_before), []);
        assert!(router.handle_served(line(0), at + 1));
        assert_eq!(told(&mut router), [served(client(at))]);
    }
    // What says nothing new is no progress.
    assert_eq!(wait(&mut router, just_before), []);
    assert!(router.handle_served(line(0), 3));
    let lost = wait(&mut router, Duration::from_millis(1));
    assert_eq!(lost, [reroute(client(3))]);
    assert_eq!(router.line_state(line(0)), LineState::Sulking);
}

#[test]
fn a_batch_that_begins_later_has_all_of_its_time() {
    let mut router = router(1, 4);
    assert_eq!(assign(&mut router, client(0)), line(0));
    assert_eq!(router.begin_batch(router.now, line(0), 1), Some(1));
    assert!(router.handle_served(line(0), 1));
    assert_eq!(wait(&mut router, LIMITS.sulk), [served(client(0))]);
    assert_eq!(assign(&mut router, client(1)), line(0));
    assert_eq!(router.begin_batch(router.now, line(0), 1), Some(2));
    let just_before = LIMITS.served_timeout - Duration::from_millis(1);
    assert_eq!(wait(&mut router, just_before), []);
    let lost = wait(&mut router, Duration::from_millis(1));
    assert_eq!(lost, [reroute(client(1))]);
}

#[test]
fn a_confirmation_counts_for_all_before() {
    let mut router = router(1, 4);
    for at in 0..3 {
        assign(&mut router, client(at));
        router.begin_batch(Instant::ORIGIN, line(0), 1).unwrap();
    }
    assert!(!router.handle_served(line(0), 4), "never sent");
    assert_eq!(router.line_len(line(0)), 3);
    assert!(router.handle_served(line(0), 2));
    assert!(router.handle_served(line(0), 1), "once more says nothing");
    assert_eq!(told(&mut router), [served(client(0)), served(client(1))]);
    assert_eq!(router.line_len(line(0)), 1);
}

#[test]
fn a_batch_is_of_one_notification() {
    let mut router = router(1, 4);
    let other = Key::new(1, 0);
    for (at, notification) in [(1, NOTE), (2, NOTE), (1, other), (3, NOTE)] {
        assert_eq!(router.assign(line(0), client(at), notification), Ok(()));
    }
    let batch = |router: &Router| {
        let legs = router.next_batch(line(0));
        legs.map(|leg| leg.client.index()).collect::<Vec<_>>()
    };
    assert_eq!(batch(&router), [1, 2]);
    assert_eq!(router.begin_batch(Instant::ORIGIN, line(0), 2), Some(1));
    assert_eq!(batch(&router), [1]);
    router.skip(line(0), 1);
    assert_eq!(batch(&router), [3]);
    assert_eq!(router.begin_batch(Instant::ORIGIN, line(0), 9), Some(2));
    assert_eq!(router.begin_batch(Instant::ORIGIN, line(0), 1), None);
    assert_eq!((router.len(), router.line_len(line(0))), (3, 3));
}

#[test]
fn who_is_told_later_is_told_of_room() {
    let mut router = router(1, 2);
    for at in 0..2 {
        assign(&mut router, client(at));
    }
    assert_eq!(router.line_state(line(0)), LineState::Full);
    let refused = router.assign(line(0), client(5), NOTE);
    assert_eq!(refused, Err(RouteRefusal::NoRoom));
    assert_eq!(route(&mut router, client(5)), Way::Later);
    assert_eq!(told(&mut router), []);
    router.begin_batch(Instant::ORIGIN, line(0), 1).unwrap();
    router.handle_served(line(0), 1);
    assert_eq!(told(&mut router), [served(client(0)), ROOM]);
    assert_eq!(route(&mut router, client(5)), Way::Peer(line(0)));

    assign(&mut router, client(6));
    assert_eq!(route(&mut router, client(5)), Way::Later);
    router.handle_line_closed(line(0));
    let ended = told(&mut router);
    assert!(
        ended.contains(&ROOM),
        "nobody is left to wait for: {ended:?}"
    );
    assert_eq!(route(&mut router, client(5)), Way::None);
}

#[test]
fn the_legs_of_all_lines_are_bounded() {
    let mut router = router(3, 4);
    for at in 0..LIMITS.legs_max {
        assign(&mut router, client(at));
    }
    assert_eq!(route(&mut router, client(20)), Way::Later);
    let ready = (0..3)
        .map(line)
        .find(|line| router.line_state(*line) == LineState::Ready);
    let refused = router.assign(ready.unwrap(), client(20), NOTE);
    assert_eq!(refused, Err(RouteRefusal::Full));
    router.skip(line(0), 1);
    assert_eq!(told(&mut router), [ROOM]);
    assert!(matches!(route(&mut router, client(20)), Way::Peer(_)));
}

#[test]
fn a_way_that_was_left_unanswered_is_avoided() {
    let mut router = router(2, 4);
    let now = Instant::ORIGIN;
    let first = assign(&mut router, client(1));
    let other = [line(0), line(1)]
        .into_iter()
        .find(|line| *line != first)
        .unwrap();
    assert_eq!(router.assign(other, client(2), NOTE), Ok(()));
    assert_eq!(router.assign(other, client(3), NOTE), Ok(()));
    assert_eq!(
        route(&mut router, client(1)),
        Way::Peer(other),
        "however busy"
    );
    router.handle_answered(client(1));
    assert_eq!(route(&mut router, client(1)), Way::Peer(first));

    // With one peer, the datagram is the other way; without both, the peer.
    router.handle_line_closed(other);
    let again = Key::new(1, 0);
    assert_eq!(router.assign(first, client(1), again), Ok(()));
    assert_eq!(route(&mut router, client(1)), Way::Peer(first));
    let way = router.route(now, client(1), SUBNET, true, true);
    assert_eq!(way, Way::Datagram);
    let way = router.route(now, client(1), SUBNET, true, true);
    assert_eq!(way, Way::Datagram, "none has left");
    router.handle_datagram(client(1));
    let way = router.route(now, client(1), SUBNET, true, true);
    assert_eq!(way, Way::Peer(first), "the datagram was left unanswered");
}

#[test]
fn who_no_peer_can_reach_is_told_by_datagram() {
    let mut router = router(1, 4);
    let now = Instant::ORIGIN;
    for (servable, datagram, way) in [
        (false, true, Way::Datagram),
        (false, false, Way::None),
        (true, true, Way::Peer(line(0))),
    ] {
        let told = router.route(now, client(1), SUBNET, servable, datagram);
        assert_eq!(told, way);
    }
    for elsewhere in [
        Key::new(4, 2),
        Key::new(3, 1),
        Key::new(3, 3),
        Key::new(9, 0),
    ] {
        let told = router.route(now, client(1), elsewhere, true, true);
        assert_eq!(told, Way::Datagram, "{elsewhere:?}");
    }
}

#[test]
fn a_later_subnet_of_the_same_place_has_its_own_lines() {
    let mut router = router(2, 4);
    let later = Key::new(3, 3);
    router.handle_line_opened(line(4), later, 4);
    assert_eq!(route(&mut router, client(1)), Way::None);
    let way = router.route(Instant::ORIGIN, client(1), later, true, false);
    assert_eq!(way, Way::Peer(line(4)));
    for place in [0, 4, 1] {
        router.handle_line_closed(line(place));
    }
    let way = router.route(Instant::ORIGIN, client(1), later, true, false);
    assert_eq!(way, Way::None);
}

#[test]
fn a_line_whose_numbers_are_used_up_is_closed() {
    let mut router = router(1, 4);
    assign(&mut router, client(1));
    router.lines[0].begun = u32::MAX;
    assert_eq!(router.begin_batch(Instant::ORIGIN, line(0), 1), None);
    assert_eq!(told(&mut router), [reroute(client(1))]);
    assert_eq!(router.line_state(line(0)), LineState::Closed);
}

#[test]
fn a_line_that_is_blocked_takes_nothing_and_rests_in_time() {
    let mut router = router(1, 4);
    assign(&mut router, client(1));
    router.handle_line_blocked(router.now, line(0));
    assert_eq!(router.line_state(line(0)), LineState::Held);
    assert_eq!(route(&mut router, client(2)), Way::Later);
    let way = router.route(Instant::ORIGIN, client(2), SUBNET, true, true);
    assert_eq!(way, Way::Datagram, "there is no need to wait");
    assert!(router.has_line(SUBNET), "it takes some again");
    router.handle_line_writable(line(0));
    assert_eq!(told(&mut router), [ROOM]);
    assert_eq!(route(&mut router, client(2)), Way::Peer(line(0)));

    router.handle_line_blocked(router.now, line(0));
    let just_before = LIMITS.served_timeout - Duration::from_millis(1);
    assert_eq!(wait(&mut router, just_before), []);
    assert_eq!(route(&mut router, client(2)), Way::Later);
    let lost = wait(&mut router, Duration::from_millis(1));
    assert_eq!(lost, [reroute(client(1)), ROOM]);
    assert_eq!(route(&mut router, client(2)), Way::None);
    assert!(!router.has_line(SUBNET));
    // It is not forgiven before it takes something again.
    assert_eq!(wait(&mut router, LIMITS.sulk), []);
    assert_eq!(router.line_state(line(0)), LineState::Sulking);
    router.handle_line_writable(line(0));
    assert_eq!(route(&mut router, client(2)), Way::Peer(line(0)));
}

#[test]
fn a_line_that_leaves_keeps_only_what_it_was_sent() {
    let mut router = router(1, 4);
    for at in 0..3 {
        assign(&mut router, client(at));
    }
    router.begin_batch(Instant::ORIGIN, line(0), 2).unwrap();
    router.handle_line_leaving(line(0));
    assert_eq!(told(&mut router), [reroute(client(2))]);
    assert_eq!(route(&mut router, client(5)), Way::None);
    let refused = router.assign(line(0), client(5), NOTE);
    assert_eq!(refused, Err(RouteRefusal::NoRoom));
    assert_eq!(router.line_len(line(0)), 2);
    router.begin_batch(Instant::ORIGIN, line(0), 1);
    assert!(router.handle_served(line(0), 1));
    assert_eq!(told(&mut router), [served(client(0)), served(client(1))]);
    assert_eq!(router.line_state(line(0)), LineState::Leaving);
    router.handle_line_closed(line(0));
    assert_eq!(router.line_state(line(0)), LineState::Closed);
}

#[test]
fn a_line_that_leaves_confirms_in_time_or_not_at_all() {
    let mut router = router(1, 4);
    assign(&mut router, client(1));
    router.begin_batch(Instant::ORIGIN, line(0), 1).unwrap();
    router.handle_line_leaving(line(0));
    let lost = wait(&mut router, LIMITS.served_timeout);
    assert_eq!(lost, [reroute(client(1))]);
    assert_eq!(router.poll_timeout(), None);
}

#[test]
fn a_stuck_subnet_leaves_room_for_the_others() {
    let limits = RouterLimits {
        legs_per_subnet_max: 5,
        ..LIMITS
    };
    let mut router = Router::new(limits, 16, 64, Random::from_seed([5; 32]));
    for place in 0..3 {
        router.handle_line_opened(line(place), SUBNET, 4);
    }
    let elsewhere = Key::new(4, 0);
    router.handle_line_opened(line(8), elsewhere, 4);
    for at in 0..5 {
        assign(&mut router, client(at));
    }
    assert_eq!(route(&mut router, client(9)), Way::Later);
    let ready = (0..3).map(line).find(|line| router.line_len(*line) < 2);
    let refused = router.assign(ready.unwrap(), client(9), NOTE);
    assert_eq!(refused, Err(RouteRefusal::NoRoom));
    for at in 20..23 {
        let way = router.route(Instant::ORIGIN, client(at), elsewhere, true, false);
        assert_eq!(way, Way::Peer(line(8)));
        assert_eq!(router.assign(line(8), client(at), NOTE), Ok(()));
    }
    // A leg of its own ends; before, one elsewhere is of no use to it.
    router.skip(line(8), 1);
    assert_eq!(told(&mut router), []);
    let busy = (0..3).map(line).find(|line| router.line_len(*line) > 0);
    router.skip(busy.unwrap(), 1);
    assert_eq!(told(&mut router), [ROOM]);
    assert!(matches!(route(&mut router, client(9)), Way::Peer(_)));
}

/// Subnets with a line each, of which the first has taken all legs.
fn starved(subnets: u32) -> Router {
    let limits = RouterLimits {
        legs_max: 64,
        legs_per_line_max: 64,
        legs_per_subnet_max: 64,
        ..LIMITS
    };
    let mut router = Router::new(limits, subnets, 512, Random::from_seed([5; 32]));
    for place in 0..subnets {
        router.handle_line_opened(line(place), Key::new(place, 0), 64);
    }
    for at in 0..64 {
        assert_eq!(router.assign(line(0), client(at), NOTE), Ok(()));
    }
    for place in 1..subnets {
        let subnet = Key::new(place, 0);
        let way = router.route(Instant::ORIGIN, client(place), subnet, true, false);
        assert_eq!(way, Way::Later);
    }
    assert_eq!(told(&mut router), []);
    router
}

fn woken(router: &mut Router) -> Vec<u32> {
    let rooms = told(router).into_iter().filter_map(|effect| match effect {
        RouterEffect::Room { subnet } => Some(subnet.index() as u32),
        _ => None,
    });
    rooms.collect()
}

#[test]
fn a_leg_that_ends_wakes_one_subnet_however_many_wait() {
    let mut router = starved(200);
    let mut order = Vec::new();
    while order.len() < 199 {
        router.skip(line(order.last().copied().unwrap_or(0)), 1);
        let woken = woken(&mut router);
        let [place] = woken[..] else {
            panic!("{woken:?} for one leg");
        };
        let subnet = Key::new(place, 0);
        let way = router.route(Instant::ORIGIN, client(place), subnet, true, false);
        assert_eq!(way, Way::Peer(line(place)), "there is room for it");
        assert_eq!(
            router.assign(line(place), client(100 + place), NOTE),
            Ok(())
        );
        order.push(place);
    }
    assert_eq!(order, (1..200).collect::<Vec<_>>(), "in turn");
}

#[test]
fn who_waits_is_told_though_those_before_it_want_no_more() {
    let mut router = starved(200);
    router.skip(line(0), 63);
    assert_eq!(woken(&mut router).len(), 63, "one for each");
    assert!(woken(&mut router).is_empty());
    router.skip(line(0), 1);
    assert_eq!(woken(&mut router).len(), 199 - 63, "nobody is forgotten");
}
