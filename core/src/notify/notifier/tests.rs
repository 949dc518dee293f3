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
fn who_joins_and_is_told_makes_the_targets_more() {
    let (mut notifier, key, id) = notifier_for_two();
    for place in 1..4 {
        notifier.handle_sent(client(place), key, Order::InOrder);
        notifier.handle_sent(client(place), key, Order::InOrder);
    }
    let status = notifier.status(id).expect("it lives");
    assert_eq!((status.targets, status.sent), (3, 3));
}
