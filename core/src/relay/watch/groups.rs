//! Whose period is whose: the numbers that prober and learner know groups by.
//!
//! 0 is the period of all, then come those of the settings, then a number for
//! the place of each subnet, if periods are learned.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::terms::{Group, HeartbeatSettings};
use crate::collections::Chunks;
use crate::registration::SubnetName;
use crate::{ClientId, Key};

/// A client, where it is.
#[derive(Clone, Copy)]
pub(super) struct Member {
    pub(super) client: ClientId,
    pub(super) subnet: Key,
    pub(super) name: Option<SubnetName>,
    pub(super) site: Option<u16>,
}

pub(super) struct Groups {
    set: BTreeMap<Group, u16>,
    /// By number.
    periods: Vec<Duration>,
    /// The subnets that had a number last, by their place.
    subnets: Chunks<Option<Key>>,
}

/// What a client's number is.
pub(super) struct Place {
    pub(super) group: u16,
    /// The number was another subnet's: this period is to be set.
    pub(super) anew: Option<Duration>,
}

impl Groups {
    pub(super) fn new(settings: &HeartbeatSettings) -> Self {
        let mut set = BTreeMap::new();
        let mut periods = Vec::with_capacity(1 + settings.periods.len());
        periods.push(settings.prober.period);
        for (group, period) in &settings.periods {
            let number = *set.entry(*group).or_insert(periods.len() as u16);
            match periods.get_mut(usize::from(number)) {
                Some(earlier) => *earlier = *period,
                None => periods.push(*period),
            }
        }
        let learned = settings.learning.map_or(0, |it| it.groups_max);
        Self {
            set,
            periods,
            subnets: Chunks::new(learned.into()),
        }
    }

    /// How many numbers there can be.
    pub(super) fn len_max(&self) -> u16 {
        self.periods.len() as u16 + self.subnets.len_max() as u16
    }

    /// The periods of the settings, with their numbers.
    pub(super) fn periods(&self) -> impl Iterator<Item = (u16, Duration)> {
        (0..).zip(self.periods.iter().copied())
    }

    /// The groups of the settings, with their numbers.
    pub(super) fn set(&self) -> impl Iterator<Item = (Group, u16)> {
        self.set.iter().map(|(group, number)| (*group, *number))
    }

    /// The period that was set for a client.
    pub(super) fn period(&self, member: &Member) -> Duration {
        self.periods[usize::from(self.number_set(member))]
    }

    /// The number of a client, which is kept for its subnet.
    pub(super) fn place(&mut self, member: &Member) -> Place {
        let number = self.number_set(member);
        let is_own = self.set.contains_key(&Group::Client(member.client));
        let learned = self.learned(member.subnet).filter(|_| !is_own);
        let Some(group) = learned else {
            return Place {
                group: number,
                anew: None,
            };
        };
        let place = member.subnet.index() as u32;
        let kept = self.subnets.get_or_grow(place, None);
        let before = kept.and_then(|kept| kept.replace(member.subnet));
        let anew = before != Some(member.subnet);
        Place {
            group,
            anew: anew.then(|| self.periods[usize::from(number)]),
        }
    }

    /// The number of a subnet that is learned about; `None` beyond their limit.
    pub(super) fn learned(&self, subnet: Key) -> Option<u16> {
        let place = u16::try_from(subnet.index()).ok()?;
        (u32::from(place) < self.subnets.len_max()).then(|| self.periods.len() as u16 + place)
    }

    /// The subnet that has the number, if it is one.
    pub(super) fn subnet(&self, group: u16) -> Option<Key> {
        let place = usize::from(group).checked_sub(self.periods.len())?;
        *self.subnets.get(place)?
    }

    fn number_set(&self, member: &Member) -> u16 {
        let of_client = Some(Group::Client(member.client));
        let of_subnet = member.name.map(Group::Subnet);
        let of_site = member.site.map(Group::Site);
        let asked = [of_client, of_subnet, of_site].into_iter().flatten();
        asked
            .filter_map(|it| self.set.get(&it))
            .next()
            .copied()
            .unwrap_or(0)
    }
}
