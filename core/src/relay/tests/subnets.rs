//! Notifications to subnets and sites, and who is still missing.

use super::members::{
    Heard, Member, assert_idle, confirm, notify, open_relay, open_settings, sent, subnet_of,
};
use super::*;
use crate::notify::{NotifyError, NotifyOptions};
use crate::registration::{Qualifier, Site, SubnetName};
use crate::relay::To;

const NAT: &str = "192.0.2.1";

/// What reached whom: those with a connection, and those without.
fn reached(
    rig: &mut Rig<Relay>,
    connected: &mut [(Member, ConnId)],
    others: &mut [Member],
) -> Vec<(ClientId, Heard)> {
    let mut heard = Vec::new();
    let mut datagrams = sent(rig);
    for (member, conn) in connected.iter() {
        for frame in said(rig, *conn) {
            match frame {
                Said::Notification(id, payload) => {
                    heard.push((member.peer.id, Heard::Notification(id, payload)));
                }
                Said::Serve(sequence, passed) => {
                    datagrams.extend(passed);
                    confirm(rig, *conn, sequence);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    for (_, bytes) in datagrams {
        let opened = others
            .iter_mut()
            .find_map(|member| Some((member.peer.id, member.hear(&bytes)?)));
        heard.push(opened.expect("for one of them"));
    }
    heard.sort_by_key(|(id, _)| *id);
    heard
}

fn named(mut ids: Vec<ClientId>, heard: Heard) -> Vec<(ClientId, Heard)> {
    ids.sort();
    ids.into_iter().map(|id| (id, heard.clone())).collect()
}

#[test]
fn a_subnet_is_told_with_and_without_connections_and_nobody_else() {
    let mut rig = open_relay();
    let mut connected = [
        Member::connected(&mut rig, NAT, "10.0.0.1/24"),
        Member::connected(&mut rig, NAT, "10.0.1.1/24"),
    ];
    let mut others = [
        Member::quiet(&mut rig, NAT, "10.0.0.5/24"),
        Member::quiet(&mut rig, NAT, "10.0.1.5/24"),
        Member::quiet(&mut rig, "192.0.2.2", "10.0.0.5/24"),
    ];
    for (to, inside) in [
        (
            subnet_of(&rig, &others[0]),
            [connected[0].0.peer.id, others[0].peer.id],
        ),
        (
            subnet_of(&rig, &others[1]),
            [connected[1].0.peer.id, others[1].peer.id],
        ),
    ] {
        let id = notify(&mut rig, to, b"subnet");
        let heard = reached(&mut rig, &mut connected, &mut others);
        let expected = Heard::Notification(id, b"subnet".into());
        assert_eq!(heard, named(inside.into(), expected));
        let status = rig.endpoint.notification(id).unwrap();
        assert_eq!((status.targets, status.sent), (2, 2));
        // Who is outside can not reply.
        let answer = others[2].peer.reply(&mut rig, id, b"me too");
        assert_eq!(answer.status, 403);
    }
    assert_idle(&rig);
    let nowhere = SubnetName {
        qualifier: Qualifier::Direct,
        network: "10.9.0.0/24".parse().unwrap(),
    };
    let now = rig.now;
    let told = rig
        .endpoint
        .notify(now, To::Subnet(nowhere), b"", NotifyOptions::default());
    assert_eq!(told, Err(NotifyError::UnknownSubnet));
}

#[test]
fn a_site_is_told_with_all_of_its_subnets_and_nobody_else() {
    let mut settings = open_settings();
    settings.registry.sites = ["192.0.2.0/28", "198.51.100.0/24"]
        .map(|network| Site {
            name: network.into(),
            networks: [network.parse().unwrap()].into(),
        })
        .into();
    let mut rig = relay_with(settings, Limits::default());
    // Two addresses of one site are one place.
    let mut connected = [Member::connected(&mut rig, "192.0.2.1", "10.0.0.1/24")];
    let mut others = [
        Member::quiet(&mut rig, "192.0.2.2", "10.0.0.5/24"),
        Member::quiet(&mut rig, "192.0.2.3", "10.0.1.5/24"),
        Member::quiet(&mut rig, "198.51.100.1", "10.0.0.5/24"),
        Member::quiet(&mut rig, "203.0.113.1", "10.0.0.5/24"),
    ];
    let id = notify(&mut rig, To::Site(0), b"site");
    let frames = said(&mut rig, connected[0].1);
    let passed = frames.iter().find_map(|frame| match frame {
        Said::Serve(_, passed) => Some(passed.clone()),
        _ => None,
    });
    assert_eq!(passed.unwrap()[0].0, others[0].inner(), "by a peer");
    assert!(frames.contains(&Said::Notification(id, b"site".into())));
    let datagrams = sent(&mut rig);
    assert_eq!(datagrams.len(), 1);
    assert_eq!(datagrams[0].0, others[1].outer());
    confirm(&mut rig, connected[0].1, 1);
    let status = rig.endpoint.notification(id).unwrap();
    assert_eq!((status.targets, status.sent), (3, 3));

    let id = notify(&mut rig, To::Site(1), b"other");
    let heard = reached(&mut rig, &mut connected, &mut others);
    let expected = Heard::Notification(id, b"other".into());
    assert_eq!(heard, named([others[2].peer.id].into(), expected));
    let now = rig.now;
    let told = rig
        .endpoint
        .notify(now, To::Site(2), b"", NotifyOptions::default());
    assert_eq!(told, Err(NotifyError::UnknownSite));
    assert_idle(&rig);
}

#[test]
fn who_has_not_replied_is_missing() {
    let mut rig = open_relay();
    let mut inside: Vec<_> = (1..6)
        .map(|number| alloc::format!("10.0.0.{number}/24"))
        .map(|local| Member::quiet(&mut rig, NAT, &local))
        .collect();
    let mut outside = Member::quiet(&mut rig, "192.0.2.2", "10.0.0.5/24");
    let to = subnet_of(&rig, &inside[0]);
    let id = notify(&mut rig, to, b"x");
    // It came too late for this one.
    Member::quiet(&mut rig, NAT, "10.0.0.9/24");
    let missing = |rig: &Rig<Relay>| {
        let mut place = 0;
        let mut missing = Vec::new();
        while let Some((at, record)) = rig.endpoint.missing_from(id, place) {
            missing.extend(record.map(|record| record.id));
            place = at + 1;
        }
        missing
    };
    let mut expected: Vec<_> = inside.iter().map(|member| member.peer.id).collect();
    assert_eq!(missing(&rig), expected);
    for at in [3, 0, 2] {
        inside[at].replies(&mut rig, id);
        let replied = inside[at].peer.id;
        expected.retain(|id| *id != replied);
        assert_eq!(missing(&rig), expected);
    }
    assert_eq!(outside.peer.reply(&mut rig, id, b"x").status, 403);
    inside[1].moves(&mut rig, "192.0.2.3", "10.0.0.2/24", false);
    assert_eq!(missing(&rig), [inside[4].peer.id], "it is elsewhere now");
    assert!(rig.endpoint.missing_from(NotificationId(5), 0).is_none());
    rig.wait(Duration::from_secs(600));
    assert_eq!(missing(&rig), [], "it has expired");
}

#[test]
fn what_is_counted_as_sent_lies_between_replies_and_targets() {
    let mut rig = open_relay();
    let mut near = Member::quiet(&mut rig, NAT, "10.0.0.5/24");
    let mut comes = Member::quiet(&mut rig, "192.0.2.2", "10.0.0.5/24");
    let to = subnet_of(&rig, &near);
    let id = notify(&mut rig, to, b"x");
    let status = |rig: &Rig<Relay>| {
        let status = rig.endpoint.notification(id).unwrap();
        (status.targets, status.sent, status.replied)
    };
    assert_eq!(status(&rig), (1, 1, 0));
    near.replies(&mut rig, id);
    // Who comes to the subnet while it lives is one that it is for.
    comes.moves(&mut rig, NAT, "10.0.0.6/24", false);
    let inbox = comes.peer.inbox(&mut rig, None).json();
    assert_eq!(inbox["notifications"][0]["notification"], id.to_string());
    assert_eq!(status(&rig), (2, 2, 1));
    comes.replies(&mut rig, id);
    assert_eq!(status(&rig), (2, 2, 2));
}

#[test]
fn subnets_are_paged_through() {
    let mut rig = open_relay();
    Member::connected(&mut rig, NAT, "10.0.0.1/24");
    Member::quiet(&mut rig, NAT, "10.0.0.2/24");
    Member::new(&mut rig, "192.0.2.2", "10.0.0.1/24", true);
    Member::quiet(&mut rig, "10.1.0.1", "10.1.0.1/16");
    let mut found = Vec::new();
    let mut place = 0;
    while let Some((at, subnet)) = rig.endpoint.subnet_from(place) {
        place = at + 1;
        let figures = (subnet.clients, subnet.connected, subnet.granted);
        found.push((
            subnet.name.qualifier,
            subnet.name.network.to_string(),
            figures,
        ));
    }
    let behind = |address: &str| Qualifier::Behind(address.parse().unwrap());
    let expected = [
        (behind(NAT), "10.0.0.0/24", (2, 1, 0)),
        (behind("192.0.2.2"), "10.0.0.0/24", (1, 0, 1)),
        (Qualifier::Direct, "10.1.0.0/16", (1, 0, 0)),
    ];
    let expected = expected.map(|(name, network, figures)| (name, network.to_string(), figures));
    assert_eq!(found, expected);
}
