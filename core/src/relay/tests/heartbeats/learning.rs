//! Periods of subnets whose firewalls forget sooner.

use super::*;
use crate::heartbeat::{LearnerSettings, Lesson, Why};
use crate::registration::SubnetName;

const PERIOD: Duration = Duration::from_secs(600);

fn learning() -> HeartbeatSettings {
    HeartbeatSettings {
        learning: Some(LearnerSettings::default()),
        ..asking(PERIOD)
    }
}

fn inner(number: usize) -> String {
    alloc::format!("10.0.0.{number}/24")
}

fn subnet_of(rig: &Rig<Relay>, member: &Member) -> crate::registration::Subnet {
    let record = rig.endpoint.client(member.peer.id).expect("registered");
    rig.endpoint.subnet_of(record).expect("a subnet")
}

fn lessons(rig: &mut Rig<Relay>) -> Vec<(SubnetName, Lesson)> {
    let told = rig.told().into_iter().filter_map(|event| match event {
        Event::HeartbeatLearned { subnet, lesson } => Some((subnet, lesson)),
        _ => None,
    });
    told.collect()
}

/// Members that answered their first question, in the middle of a period: what
/// they are asked next was idle for a period.
fn settled(rig: &mut Rig<Relay>, nat: &str, count: usize) -> (Vec<Member>, Vec<ConnId>) {
    let members = (1..=count).map(|number| Member::connected(rig, nat, &inner(number)));
    let (members, conns): (Vec<_>, Vec<_>) = members.unzip();
    let asked = answer_all(rig, &conns, PERIOD);
    assert!(asked.iter().all(|asked| asked.len() == 1));
    (members, conns)
}

/// Those who are asked do not answer, until they are ended.
fn die(rig: &mut Rig<Relay>, dead: &[ConnId], alive: &[ConnId]) {
    while dead.iter().any(|conn| rig.wire(*conn).closed.is_none()) {
        for conn in alive {
            for it in said(rig, *conn) {
                if let Said::Ping(nonce) = it {
                    rig.feed(*conn, &pong(nonce));
                }
            }
        }
        step(rig);
    }
}

/// Members behind a firewall that forgets what was idle for `limit`: who is
/// asked later does not answer, is ended, or reset if it is the first one, and
/// comes again; until something is learned.
fn forgotten(
    rig: &mut Rig<Relay>,
    members: &mut [Member],
    limit: Duration,
) -> (SubnetName, Lesson) {
    let open = members.iter_mut().map(|member| member.connect(rig));
    let mut conns: Vec<_> = open.collect();
    let mut heard = alloc::vec![rig.now; conns.len()];
    for _ in 0..1_000 {
        step(rig);
        for (place, member) in members.iter_mut().enumerate() {
            let conn = conns[place];
            let forgets = rig.now.saturating_since(heard[place]) >= limit;
            let mut end = rig.wire(conn).closed.map(|_| CloseReason::Local);
            for it in said(rig, conn) {
                match it {
                    Said::Ping(nonce) if !forgets => {
                        heard[place] = rig.now;
                        rig.feed(conn, &pong(nonce));
                    }
                    Said::Ping(_) if place == 0 => end = Some(CloseReason::Reset),
                    _ => {}
                }
            }
            if let Some(why) = end {
                rig.closed(conn, why);
                if let Some(told) = lessons(rig).first() {
                    return *told;
                }
                member.moves(rig, NAT, &inner(place + 1), true);
                conns[place] = member.connect(rig);
                heard[place] = rig.now;
            }
        }
    }
    panic!("nothing was learned");
}

#[test]
fn who_dies_again_at_one_age_shortens_the_period_of_its_subnet() {
    let mut rig = relay_watching(learning());
    let members = (1..=4).map(|number| Member::new(&mut rig, NAT, &inner(number), true));
    let mut members: Vec<_> = members.collect();
    let subnet = subnet_of(&rig, &members[0]);
    let (name, lesson) = forgotten(&mut rig, &mut members, PERIOD / 2);
    assert_eq!((name, lesson.set), (subnet.name, PERIOD));
    assert_eq!(lesson.at, rig.now);
    let Why::Shortened(evidence) = lesson.why else {
        panic!("{lesson:?}");
    };
    assert!(evidence.deaths >= 3 && evidence.oldest <= PERIOD);
    assert!(evidence.youngest >= evidence.oldest * 4 / 5);
    assert_eq!(lesson.period, evidence.youngest / 2);
    let period = rig.endpoint.subnet_period(&subnet).unwrap();
    assert_eq!(
        (period.period, period.lesson),
        (lesson.period, Some(lesson))
    );
    assert_eq!(count(&rig, |stats| stats.heartbeat_lessons), 1);

    // Who comes there has the shorter one, who is elsewhere has not; both are
    // told what was set.
    let mut comes = Member::new(&mut rig, NAT, &inner(9), true);
    let answer = comes.moves(&mut rig, NAT, &inner(9), true);
    assert_eq!(answer.heartbeat.unwrap().period_s, 600);
    let (_, elsewhere) = Member::connected(&mut rig, "198.51.100.1", &inner(2));
    let conns = [comes.connect(&mut rig), elsewhere];
    let asked = answer_all(&mut rig, &conns, 4 * PERIOD);
    assert!(spans(&asked[0]).iter().all(|span| *span == lesson.period));
    assert!(spans(&asked[1]).iter().all(|span| *span == PERIOD));
    assert!(asked[0].len() >= 7 && asked[1].len() >= 3);
}

#[test]
fn an_outage_of_the_subnet_teaches_nothing() {
    let mut rig = relay_watching(learning());
    let (members, conns) = settled(&mut rig, NAT, 8);
    die(&mut rig, &conns, &[]);
    assert_eq!(lessons(&mut rig), []);
    let subnet = subnet_of(&rig, &members[0]);
    let period = rig.endpoint.subnet_period(&subnet).unwrap();
    assert_eq!((period.period, period.lesson), (PERIOD, None));
}

#[test]
fn survivors_of_that_age_prevent_a_lesson() {
    let mut rig = relay_watching(learning());
    let (members, conns) = settled(&mut rig, NAT, 8);
    let (alive, dead) = conns.split_at(4);
    die(&mut rig, dead, alive);
    assert_eq!(lessons(&mut rig), []);
    let subnet = subnet_of(&rig, &members[0]);
    let period = rig.endpoint.subnet_period(&subnet).unwrap();
    assert_eq!((period.period, period.lesson), (PERIOD, None));
}

#[test]
fn who_has_a_period_of_its_own_teaches_nothing() {
    let mut rig = relay_watching(learning());
    let (members, _) = settled(&mut rig, NAT, 3);
    let ids = members.iter().map(|member| member.peer.id);
    let periods = ids.map(|id| (Group::Client(id), PERIOD)).collect();
    let mut rig = relay_watching(HeartbeatSettings {
        periods,
        ..learning()
    });
    let (members, conns) = settled(&mut rig, NAT, 3);
    die(&mut rig, &conns, &[]);
    assert_eq!(lessons(&mut rig), []);
    let subnet = subnet_of(&rig, &members[0]);
    assert!(rig.endpoint.subnet_period(&subnet).is_none());
}

#[test]
fn a_subnets_own_period_is_what_is_shortened() {
    let mut rig = relay_watching(learning());
    let (members, _) = settled(&mut rig, NAT, 1);
    let name = subnet_of(&rig, &members[0]).name;
    let mut rig = relay_watching(HeartbeatSettings {
        periods: [(Group::Subnet(name), PERIOD / 3)].into(),
        ..learning()
    });
    let members = (1..=3).map(|number| Member::new(&mut rig, NAT, &inner(number), true));
    let mut members: Vec<_> = members.collect();
    let (_, lesson) = forgotten(&mut rig, &mut members, PERIOD / 6);
    assert_eq!(lesson.set, PERIOD / 3);
    assert!(lesson.period <= PERIOD / 6);
    let subnet = subnet_of(&rig, &members[0]);
    let period = rig.endpoint.subnet_period(&subnet).unwrap();
    assert_eq!(period.period, lesson.period);
    let set: Vec<_> = rig.endpoint.heartbeat_periods().collect();
    let group = Group::Subnet(name);
    assert_eq!(set, [(group, PERIOD / 3, Some(PERIOD / 3 + TIMEOUT))]);
}

#[test]
fn a_subnet_that_gets_the_place_of_another_starts_anew() {
    let mut settings = open_settings();
    settings.heartbeat = learning();
    settings.registry.period = HOUR;
    let mut rig = relay_with(settings, Limits::default());
    let members = (1..=3).map(|number| Member::new(&mut rig, NAT, &inner(number), true));
    let mut members: Vec<_> = members.collect();
    let before = subnet_of(&rig, &members[0]);
    forgotten(&mut rig, &mut members, PERIOD / 2);
    rig.wait(20 * HOUR);
    assert_eq!(count(&rig, |stats| stats.clients), 0, "all are forgotten");
    let (member, conn) = Member::connected(&mut rig, "198.51.100.1", &inner(1));
    let subnet = subnet_of(&rig, &member);
    assert_eq!(subnet.key.index(), before.key.index(), "the same place");
    let period = rig.endpoint.subnet_period(&subnet).unwrap();
    assert_eq!((period.period, period.lesson), (PERIOD, None));
    assert!(rig.endpoint.subnet_period(&before).is_none());
    let asked = answer_all(&mut rig, &[conn], 3 * PERIOD);
    assert!(asked[0].len() >= 2);
    assert!(spans(&asked[0]).iter().all(|span| *span == PERIOD));
}

#[test]
fn beyond_the_subnets_that_are_learned_about_nothing_is() {
    let mut heartbeat = learning();
    heartbeat.learning.as_mut().unwrap().groups_max = 1;
    let mut rig = relay_watching(heartbeat);
    let (near, near_conns) = settled(&mut rig, NAT, 3);
    let (far, far_conns) = settled(&mut rig, "198.51.100.1", 3);
    let near = subnet_of(&rig, &near[0]);
    let far = subnet_of(&rig, &far[0]);
    assert!(rig.endpoint.subnet_period(&near).is_some());
    assert!(rig.endpoint.subnet_period(&far).is_none());
    let all = [near_conns, far_conns].concat();
    die(&mut rig, &all, &[]);
    let told = lessons(&mut rig);
    assert!(told.iter().all(|(name, _)| *name == near.name), "{told:?}");
}
