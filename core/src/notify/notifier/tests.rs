use super::*;

const LIMITS: NotifierLimits = NotifierLimits {
    notifications_max: 8,
    notifications_per_client_max: 8,
    notifications_per_group_max: 8,
    payload_bytes_max: 64,
    replies_max: 8,
    reply_bytes_max: 64,
    payloads_bytes_max: 512,
    replies_bytes_max: 512,
    lifetime_max: Duration::from_secs(60),
};
const OPTIONS: NotifyOptions = NotifyOptions {
    lifetime: Duration::from_secs(60),
    reply_window: Duration::ZERO,
};

const fn client(place: u32) -> (Key, ClientId) {
    (Key::new(place, 0), ClientId([place as u8; 16]))
}

/// A notifier that has one notification, for two clients.
fn notifier_for_two() -> (Notifier, Key, NotificationId) {
    let mut notifier = Notifier::new(Incarnation(1), LIMITS, 4, Random::from_seed([5; 32]));
    let told = notifier.notify(Instant::ORIGIN, Audience::All, b"?", OPTIONS, 2);
    let id = told.expect("there is room");
    let key = notifier.find(id).expect("it lives");
    (notifier, key, id)
}

fn reply(notifier: &mut Notifier, client: (Key, ClientId), id: NotificationId) {
    let taken = notifier.handle_reply(Instant::ORIGIN, client, Membership::default(), id, b"here");
    assert_eq!(taken, Ok(()));
}

#[test]
fn a_reply_that_overtakes_the_confirmation_of_its_way_is_counted_once() {
    let (mut notifier, key, id) = notifier_for_two();
    notifier.handle_sent(client(1), key, Order::InOrder);
    reply(&mut notifier, client(2), id);
    reply(&mut notifier, client(1), id);
    notifier.handle_sent(client(2), key, Order::Loose);
    let status = notifier.status(id).expect("it lives");
    assert_eq!((status.targets, status.sent, status.replied), (2, 2, 2));
}

#[test]
fn who_replies_before_anything_is_known_of_the_way_was_told() {
    let (mut notifier, key, id) = notifier_for_two();
    reply(&mut notifier, client(2), id);
    let status = notifier.status(id).expect("it lives");
    assert_eq!((status.targets, status.sent, status.replied), (2, 1, 1));
    // Its connection opens and writes what it has got by another way.
    notifier.handle_sent(client(2), key, Order::InOrder);
    notifier.handle_sent(client(1), key, Order::Loose);
    let status = notifier.status(id).expect("it lives");
    assert_eq!((status.targets, status.sent, status.replied), (2, 2, 1));
}

#[test]
fn who_comes_to_a_group_and_is_told_makes_the_targets_more() {
    let mut notifier = Notifier::new(Incarnation(1), LIMITS, 4, Random::from_seed([5; 32]));
    let told = notifier.notify(Instant::ORIGIN, Audience::Site(3), b"?", OPTIONS, 2);
    let id = told.expect("there is room");
    let key = notifier.find(id).expect("it lives");
    for place in 1..4 {
        notifier.handle_sent(client(place), key, Order::InOrder);
        notifier.handle_sent(client(place), key, Order::InOrder);
    }
    let status = notifier.status(id).expect("it lives");
    assert_eq!((status.targets, status.sent), (3, 3));
}

#[test]
fn who_moves_while_a_notification_spreads_is_counted_once() {
    for audience in [Audience::All, Audience::Site(3)] {
        let mut notifier = Notifier::new(Incarnation(1), LIMITS, 4, Random::from_seed([5; 32]));
        let [first, second] = [(); 2].map(|()| say(&mut notifier, audience));
        let [key, later] = [first, second].map(|id| notifier.find(id).expect("it lives"));
        // By a peer of its subnet, then by one of the subnet that it moved to.
        for key in [key, later, key, later] {
            notifier.handle_sent(client(1), key, Order::Loose);
        }
        for id in [first, second] {
            let status = notifier.status(id).expect("it lives");
            assert_eq!((status.targets, status.sent), (1, 1), "{audience:?}");
        }
    }
}

#[test]
fn nobody_comes_to_all() {
    let (mut notifier, key, id) = notifier_for_two();
    for place in 1..4 {
        notifier.handle_sent(client(place), key, Order::Loose);
    }
    let status = notifier.status(id).expect("it lives");
    assert_eq!((status.targets, status.sent), (2, 2));
}

#[test]
fn who_left_the_group_after_it_was_told_may_reply() {
    let mut notifier = Notifier::new(Incarnation(1), LIMITS, 4, Random::from_seed([5; 32]));
    let [told, other] = [3, 4].map(|site| say(&mut notifier, Audience::Site(site)));
    let now = Instant::ORIGIN;
    for (place, order) in [(1, Order::Loose), (2, Order::InOrder)] {
        let key = notifier.find(told).expect("it lives");
        notifier.handle_sent(client(place), key, order);
        let own = say(&mut notifier, Audience::Client(client(place).0));
        let own = notifier.find(own).expect("it lives");
        notifier.handle_sent(client(place), own, order);
        let moved = Membership::default();
        let mut reply = |id| notifier.handle_reply(now, client(place), moved, id, b"here");
        assert_eq!(reply(told), Ok(()));
        assert_eq!(
            reply(other),
            Err(ReplyRefusal::Foreign),
            "it was never told"
        );
    }
    let stranger = notifier.handle_reply(now, client(3), Membership::default(), told, b"here");
    assert_eq!(stranger, Err(ReplyRefusal::Foreign));
    let status = notifier.status(told).expect("it lives");
    assert_eq!((status.targets, status.sent, status.replied), (2, 2, 2));
}

fn say(notifier: &mut Notifier, audience: Audience) -> NotificationId {
    let told = notifier.notify(Instant::ORIGIN, audience, b"x", OPTIONS, 1);
    told.expect("there is room")
}

#[test]
fn who_joins_is_told_nothing_from_before_by_any_way() {
    let mut notifier = Notifier::new(Incarnation(1), LIMITS, 4, Random::from_seed([5; 32]));
    let (new, _) = client(2);
    let (subnet, site) = (Key::new(1, 0), 3);
    let membership = Membership {
        subnet: Some(subnet),
        site: Some(site),
    };
    let groups = [
        Audience::All,
        Audience::Subnet(subnet),
        Audience::Site(site),
    ];
    let before = groups.map(|group| say(&mut notifier, group));
    notifier.handle_joined(new);
    let start = NotificationId(0);
    assert_eq!(notifier.pending(new, membership, start), None);
    for id in before {
        let key = notifier.find(id).expect("it lives");
        assert!(!notifier.concerns(key, new, membership));
    }
    let own = say(&mut notifier, Audience::Client(new));
    let behind = groups.map(|group| say(&mut notifier, group));
    let mut cursor = start;
    for expected in [own].into_iter().chain(behind) {
        let next = notifier.pending(new, membership, cursor);
        let (key, id) = next.expect("there is more");
        assert_eq!(
            (id, notifier.concerns(key, new, membership)),
            (expected, true)
        );
        cursor = id;
    }
    assert_eq!(notifier.pending(new, membership, cursor), None);
}

/// From the start, and from one to the next, nothing is gone through: with the
/// links between cut, the answer is the same.
#[test]
fn the_first_and_the_next_of_a_list_are_found_at_once() {
    let mut notifier = Notifier::new(Incarnation(1), LIMITS, 4, Random::from_seed([5; 32]));
    let (to, _) = client(1);
    let ids: [_; 8] = core::array::from_fn(|_| say(&mut notifier, Audience::Client(to)));
    for id in ids {
        let key = notifier.find(id).expect("it lives");
        notifier.entries.get_mut(key).expect("it lives").older = None;
    }
    let behind = |after| notifier.pending(to, Membership::default(), after);
    let mut cursor = NotificationId(0);
    for id in ids {
        cursor = behind(cursor).expect("there is more").1;
        assert_eq!(cursor, id);
    }
    assert_eq!(behind(cursor), None);
}

/// The replies before are not gone through: with the links between cut, the
/// answer is the same.
#[test]
fn the_replies_behind_one_are_found_at_once() {
    let (mut notifier, key, id) = notifier_for_two();
    for place in 1..4 {
        reply(&mut notifier, client(place), id);
    }
    let entry = notifier.entries.get_mut(key).expect("it lives");
    let whole = core::mem::take(&mut entry.replies);
    let behind = |notifier: &Notifier, after: u32| {
        let replies = notifier.replies_behind(id, Some(client(after).1));
        replies.map(|reply| reply.client.0[0]).collect::<Vec<_>>()
    };
    assert_eq!(behind(&notifier, 1), [2, 3]);
    assert!(behind(&notifier, 3).is_empty());
    assert!(
        behind(&notifier, 9).is_empty(),
        "from the start, which was cut"
    );
    notifier.entries.get_mut(key).expect("it lives").replies = whole;
    assert_eq!(behind(&notifier, 9), [1, 2, 3]);
}
