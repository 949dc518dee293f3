//! Deadlines and least rates: promise W4.

use super::*;

#[test]
fn w4_a_head_is_due_as_a_whole() {
    let mut world = World::new();
    assert_eq!(world.deadline(), Some(Duration::from_secs(10)));
    for byte in "GET / HTT".bytes() {
        world.receive([byte]);
        world.pass(1);
        assert_eq!(world.effects(), []);
    }
    world.pass(1);
    assert_eq!(world.effects(), [Effect::Refused(Refusal::SlowHead)]);
    assert!(world.written().starts_with("HTTP/1.1 408 "));
    assert_eq!(world.effects(), [Effect::Close(Close::Finish)]);

    // Kept alive, it is due from its first byte.
    let mut world = World::new();
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
    world.written();
    world.effects();
    world.pass(59);
    world.receive("G");
    assert_eq!(world.deadline(), Some(Duration::from_secs(10)));
}

#[test]
fn w4_who_never_speaks_gets_no_answer() {
    let mut world = World::new();
    world.pass(9);
    assert_eq!(world.effects(), []);
    world.pass(1);
    let silent = Effect::Refused(Refusal::Silent);
    assert_eq!(world.effects(), [silent, Effect::Close(Close::Finish)]);
    assert_eq!(world.written(), "");
    assert_eq!(world.pool.retained(), 0);
    world.pass(2);
    assert_eq!(world.effects(), [Effect::Close(Close::Abort)]);

    let mut world = World::new();
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(world.respond(ResponseBody::Empty), Ok(()));
    world.written();
    world.effects();
    world.pass(60);
    assert_eq!(world.effects(), [Effect::Close(Close::Finish)]);
}

#[test]
fn w4_a_body_has_a_least_rate_while_it_is_waited_for() {
    let mut world = World::new();
    world.receive("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    world.effects();
    assert_eq!(world.deadline(), None);
    let (now, reading) = (world.now, Reading::Chunks);
    assert_eq!(
        world.server.read_body(now, reading, &mut world.pool),
        Ok(())
    );
    for _ in 0..60 {
        world.receive([b'x'; 500]);
        world.server.consume_body(world.now);
        world.pass(1);
        assert!(
            !world
                .effects()
                .contains(&Effect::Refused(Refusal::SlowBody))
        );
    }
    // The application makes the peer wait: that is not the peer's fault.
    assert_eq!(world.receive([b'x'; 20_000]), 16_384);
    assert_eq!(world.effects(), [Effect::Body]);
    assert_eq!(world.deadline(), None);
    world.server.consume_body(world.now);
    assert_eq!(world.effects(), [Effect::Resume]);
    let mut seconds = 0;
    while world.deadline().is_some() && seconds < 100 {
        world.receive("x");
        world.server.consume_body(world.now);
        world.pass(1);
        seconds += 1;
    }
    assert_eq!(seconds, 11);
    let aborted = Effect::Finished {
        status: 408,
        aborted: true,
    };
    assert_eq!(
        world.effects(),
        [Effect::Refused(Refusal::SlowBody), aborted]
    );
    assert_eq!(world.respond(ResponseBody::Empty), Err(Misuse::NoRequest));
    assert!(world.written().starts_with("HTTP/1.1 408 "));
}

#[test]
fn w4_who_does_not_take_the_response_is_cut_off() {
    let mut world = World::new();
    world.receive("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    world.effects();
    assert_eq!(world.respond(ResponseBody::Bytes(&[b'x'; 50_000])), Ok(()));
    let mut buf = [0; 5_000];
    let len = world
        .server
        .poll_write(world.now, &mut buf, &mut world.pool);
    assert_eq!(len, 5_000);
    world.server.handle_blocked(world.now);
    assert!(!world.server.wants_write());
    assert_eq!(world.deadline(), Some(Duration::from_secs(40)));
    world.pass(39);
    world.server.handle_writable(world.now);
    assert_eq!(world.deadline(), None);
    assert!(world.server.wants_write());
    world
        .server
        .poll_write(world.now, &mut buf, &mut world.pool);
    world.server.handle_blocked(world.now);
    world.pass(40);
    let aborted = Effect::Finished {
        status: 200,
        aborted: true,
    };
    assert_eq!(
        world.effects(),
        [
            Effect::Refused(Refusal::SlowReader),
            aborted,
            Effect::Close(Close::Abort)
        ]
    );
    assert_eq!(world.deadline(), None);
}

#[test]
fn early_timeouts_change_nothing() {
    let mut world = World::new();
    for stream in [
        "",
        "GET / HTTP/1.1\r\n",
        "Host: h\r\nContent-Length: 1\r\n\r\n",
    ] {
        if !stream.is_empty() {
            world.receive(stream);
        }
        let before = format!("{:?}", world.server);
        world
            .server
            .handle_timeout(Instant::ORIGIN, &mut world.pool);
        world.server.handle_timeout(world.now, &mut world.pool);
        assert_eq!(format!("{:?}", world.server), before);
    }
}
