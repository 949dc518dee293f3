//! Periods of subnets whose firewalls forget sooner.

use super::*;
use crate::heartbeat::{Evidence, LearnerSettings, Lesson, Why};
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

#[test]
fn three_deaths_at_one_age_halve_the_period_of_their_subnet() {
    let mut rig = relay_watching(learning());
    let (_, far) = Member::connected(&mut rig, "198.51.100.1", &inner(1));
    let members = (1..=4).map(|number| Member::connected(&mut rig, NAT, &inner(number)));
    let (members, conns): (Vec<_>, Vec<_>) = members.unzip();
    answer_all(&mut rig, &[&conns[..], &[far]].concat(), PERIOD);
    let subnet = subnet_of(&rig, &members[0]);
    let period = rig.endpoint.subnet_period(&subnet).expect("it is learned");
    assert_eq!((period.period, period.lesson), (PERIOD, None));
    // The fourth one dies by a reset that its question brings.
    rig.told();
    let mut reset = None;
    let mut ended = 0;
    while ended < 3 {
        step(&mut rig);
        answer_all(&mut rig, &[far], Duration::ZERO);
        for conn in &conns {
            if reset.is_none() && !said(&mut rig, *conn).is_empty() {
                reset = Some(*conn);
                rig.closed(*conn, CloseReason::Reset);
            }
        }
        let closed = conns.iter().filter(|conn| Some(**conn) != reset);
        let closed: Vec<_> = closed
            .filter(|conn| rig.wire(**conn).closed.is_some())
            .collect();
        ended = 1 + closed.len();
    }
    let told = lessons(&mut rig);
    let [(name, lesson)] = told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((name, lesson.set), (subnet.name, PERIOD));
    assert_eq!((lesson.period, lesson.at), (PERIOD / 2, rig.now));
    let evidence = Evidence {
        deaths: 3,
        youngest: PERIOD,
        oldest: PERIOD,
    };
    assert_eq!(lesson.why, Why::Shortened(evidence));
    let period = rig.endpoint.subnet_period(&subnet).unwrap();
    assert_eq!((period.period, period.lesson), (PERIOD / 2, Some(lesson)));
    assert_eq!(count(&rig, |stats| stats.heartbeat_lessons), 1);

    // Who comes there has the shorter one, who is elsewhere has not; both are
    // told what was set.
    let mut comes = Member::new(&mut rig, NAT, &inner(9), true);
    let answer = comes.moves(&mut rig, NAT, &inner(9), true);
    assert_eq!(answer.heartbeat.unwrap().period_s, 600);
    let conns = [comes.connect(&mut rig), far];
    let asked = answer_all(&mut rig, &conns, 4 * PERIOD);
    assert!(spans(&asked[0]).iter().all(|span| *span == PERIOD / 2));
    assert!(spans(&asked[1]).iter().all(|span| *span == PERIOD));
    assert!(asked[0].len() >= 7 && asked[1].len() >= 3);
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
    let members = (1..=3).map(|number| Member::connected(&mut rig, NAT, &inner(number)));
    let (members, conns): (Vec<_>, Vec<_>) = members.unzip();
    answer_all(&mut rig, &conns, PERIOD / 3);
    die(&mut rig, &conns, &[]);
    let told = lessons(&mut rig);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].1.set, PERIOD / 3);
    assert_eq!(told[0].1.period, PERIOD / 6);
    let subnet = subnet_of(&rig, &members[0]);
    let period = rig.endpoint.subnet_period(&subnet).unwrap();
    assert_eq!(period.period, PERIOD / 6);
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
    let (members, conns) = settled(&mut rig, NAT, 3);
    let before = subnet_of(&rig, &members[0]);
    die(&mut rig, &conns, &[]);
    assert_eq!(lessons(&mut rig).len(), 1);
    rig.wait(10 * HOUR);
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
