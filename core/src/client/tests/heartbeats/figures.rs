//! The figures of both ends: what is stated, followed and advised.

use super::*;

#[test]
fn figures_that_do_not_fit_are_told_once_for_each_change() {
    let own = HeartbeatSettings {
        heartbeat: Some(seconds(900)),
        frequency: Some(MINUTE),
        ..HeartbeatSettings::default()
    };
    let mut rig = registered_by(quiet(own), &{
        let mut answer = of_relay(figures(600, 0, 60));
        answer.register_again_s = 3_600;
        answer.persistent_connection = None;
        answer
    });
    let (heartbeat, period) = (seconds(900), seconds(600));
    let told = rig.told();
    let advice = Event::HeartbeatAdvice(Advice::HeartbeatTooShort { heartbeat, period });
    assert!(matches!(told[0], Event::Registered { .. }), "{told:?}");
    assert_eq!(told[1..], [advice]);
    let text = Advice::HeartbeatTooShort { heartbeat, period }.to_string();
    assert!(text.contains("900s") && text.contains("600s"), "{text}");

    let no_prober = Event::HeartbeatAdvice(Advice::NoProber { heartbeat });
    let relays = Event::HeartbeatAdvice(Advice::NoProber { heartbeat: MINUTE });
    for (relay, advices) in [
        (figures(600, 0, 60), &[][..]),
        (figures(450, 0, 0), &[]),
        (figures(600, 0, 0), &[advice]),
        (figures(0, 0, 0), &[no_prober]),
        (figures(0, 60, 60), &[no_prober, relays]),
        (figures(0, 60, 60), &[]),
    ] {
        let told = again(&mut rig, Some(relay));
        assert!(matches!(told[0], Event::Registered { .. }), "{told:?}");
        assert_eq!(&told[1..], advices, "{relay:?}");
    }
    assert_eq!(again(&mut rig, None).len(), 1, "an older relay is no fault");
}

/// The client registers again, and is answered so; what it was told of that.
fn again(rig: &mut Rig<Client>, relay: Option<HeartbeatFigures>) -> Vec<Event> {
    loop {
        until_connect(rig);
        let control = connected(rig);
        let asked = request(rig, control);
        if asked.starts_with("POST /v1/register ") {
            assert!(
                asked.contains(r#""heartbeat":{"period_s":0,"heartbeat_s":900,"frequency_s":60}"#),
                "{asked}"
            );
            let later = Answer {
                heartbeat: relay,
                secret: None,
                register_again_s: 3_600,
                persistent_connection: None,
                ..answer(false, false)
            };
            respond(rig, control, 200, &text(&later));
            disk(rig);
            return rig.told();
        }
        respond(rig, control, 200, &inbox(&[], false));
    }
}

#[test]
fn the_shorter_of_both_periods_counts() {
    let own = HeartbeatSettings {
        period: MINUTE,
        heartbeat: Some(seconds(200)),
        ..HeartbeatSettings::default()
    };
    // The answers to the client's probes break the silence of both: `watching`
    // sees that nothing is advised.
    let (mut rig, conn) = watching(own, figures(600, 120, 10));
    for _ in 0..100 {
        rig.wait(seconds(1));
        for it in said(&mut rig, conn) {
            let Said::Ping(nonce) = it else {
                panic!("{it:?}")
            };
            rig.feed(conn, &pong(nonce));
        }
    }
    rig.wait(seconds(4));
    assert_eq!(rig.told(), []);
}

#[test]
fn a_client_states_what_it_has_of_its_own() {
    let stated = |heartbeat| {
        let mut rig = quiet(heartbeat);
        disk(&mut rig);
        let control = connected(&mut rig);
        let asked = request(&mut rig, control);
        let (_, body) = asked.split_once("\r\n\r\n").unwrap();
        let request: crate::registration::body::Request<'_> = serde_json::from_str(body).unwrap();
        request.heartbeat
    };
    let follows = HeartbeatSettings::default();
    assert_eq!(stated(follows), None);
    let period = HeartbeatSettings {
        period: seconds(45),
        ..follows
    };
    assert_eq!(stated(period), Some(figures(45, 0, 0)));
    let heartbeat = HeartbeatSettings {
        heartbeat: Some(seconds(900)),
        ..follows
    };
    assert_eq!(stated(heartbeat), Some(figures(0, 900, 45)));
    let out_of_range = HeartbeatSettings {
        period: Duration::from_millis(1),
        response_timeout: Duration::ZERO,
        heartbeat: Some(Duration::MAX),
        frequency: Some(Duration::from_millis(1_001)),
    };
    assert_eq!(stated(out_of_range), Some(figures(1, 86_400, 2)));
}
