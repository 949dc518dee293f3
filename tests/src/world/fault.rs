//! The faults that the world knows, their rates, and how often each struck.
//!
//! A fault point asks [`Faults::strike`]. Rates are drawn for each seed: a seed
//! has some faults and not others, each somewhere between rare and frequent,
//! so that a few hundred seeds see faults alone and together. To add a fault,
//! add its line to the table below and ask `strike` where it happens; the
//! "sometimes" assertion of [`Counts::assert_struck`] then demands that it does.

use core::fmt::Write;

use crate::Dice;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $low:literal..$high:literal)*) => {
        /// Something that goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// How often it strikes, in strikes per million chances, where a
            /// seed has it.
            const fn range_ppm(self) -> (u32, u32) {
                match self {
                    $(Self::$name => ($low, $high),)*
                }
            }
        }
    };
}

faults! {
    // For each connection that is opened.
    /// The name does not resolve this time.
    Unresolved 1_000..100_000
    /// The peer refuses, although it listens.
    ConnectRefused 1_000..200_000
    /// The request to open gets lost until the opener gives up.
    ConnectLost 1_000..200_000
    /// The opener is out of descriptors.
    Exhausted 1_000..100_000

    // For each read and each write.
    /// A read brings less than there is.
    ShortRead 10_000..500_000
    /// A write takes less than there is room for.
    PartialWrite 10_000..500_000
    /// A segment takes much longer than the ones before it.
    Straggler 1_000..50_000
    /// The poll is cut short by another input.
    InputBetweenPolls 10_000..500_000
    /// A timeout is told before its deadline.
    EarlyTimeout 1_000..50_000

    // For each datagram.
    /// It is lost.
    DatagramLost 1_000..300_000
    /// It comes twice.
    DatagramRepeated 1_000..200_000
    /// It is overtaken by later ones.
    DatagramDelayed 1_000..300_000
    /// One bit of it flips.
    DatagramFlipped 1_000..50_000

    // For each storage effect.
    /// There is no space for what is appended or created.
    StoreFull 500..20_000
    /// There is space for a part of what is appended.
    StoreShort 500..20_000
    /// A sync fails; what it should have saved is gone at the next crash, also
    /// if a later sync succeeds. Of a rename, a removal or a copy: it is done,
    /// but not durable.
    SyncFailed 500..20_000
    /// A file cannot be created, opened, renamed, removed or copied.
    NameFailed 500..20_000
    /// A read fails.
    ReadFailed 2_000..200_000
    /// A storage effect takes long.
    StoreSlow 1_000..100_000
    /// The node loses power before it hears how the effect ended.
    CrashInStore 200..10_000

    // For each file that a crash finds unsynced.
    /// What was not synced is gone.
    WriteLost 300_000..900_000
    /// What was not synced is there in part: each sector is as it was before or
    /// after any of the writes to it, and the end is torn.
    WriteTorn 100_000..900_000
    /// A change of names that is not durable is undone.
    NameLost 100_000..900_000

    // For each tick of the weather, about once a second.
    /// An open connection is reset.
    Reset 10_000..200_000
    /// Something in the middle ends one direction of a connection.
    HalfClose 5_000..100_000
    /// No packet passes from one node to another.
    PartitionOneWay 5_000..100_000
    /// No packet passes between two nodes.
    PartitionTwoWay 5_000..100_000
    /// Packets from one node to another queue up.
    Clog 5_000..100_000
    /// Links clog one after another and clear in another order.
    Swizzle 2_000..30_000
    /// A node gets no processor time.
    Pause 5_000..100_000
    /// A node's process dies; its system closes its connections.
    CrashProcess 2_000..50_000
    /// A node loses power; nobody is told.
    CrashPower 2_000..50_000
    /// The wall clock of a node jumps.
    ClockJump 5_000..50_000
}

/// Which faults a run may have.
#[derive(Clone, Debug)]
pub struct Climate {
    allowed: Vec<Fault>,
    every: bool,
}

impl Climate {
    /// No fault at all.
    pub fn calm() -> Self {
        Self {
            allowed: Vec::new(),
            every: false,
        }
    }

    /// Every fault there is.
    pub fn stormy() -> Self {
        Self {
            allowed: Fault::ALL.to_vec(),
            every: false,
        }
    }

    /// Those faults, each of them in every seed.
    pub fn of(faults: &[Fault]) -> Self {
        Self {
            allowed: faults.to_vec(),
            every: true,
        }
    }

    /// Without those faults.
    #[must_use]
    pub fn without(mut self, faults: &[Fault]) -> Self {
        self.allowed.retain(|fault| !faults.contains(fault));
        self
    }
}

/// The rates of one seed, and what struck.
#[derive(Clone, Debug)]
pub struct Faults {
    dice: Dice,
    rates_ppm: Vec<u32>,
    counts: Counts,
}

impl Faults {
    /// Draws the rates of a seed: about half of the allowed faults, each with a
    /// rate of its own.
    pub fn draw(climate: &Climate, dice: &mut Dice) -> Self {
        let rates_ppm = Fault::ALL
            .iter()
            .map(|fault| {
                let (low, high) = fault.range_ppm();
                // Every order of magnitude in between is as likely.
                let doublings = u64::from((high / low).ilog2()) + 1;
                let rate = (low << dice.below(doublings)).min(high);
                let drawn = dice.one_in(2) || climate.every;
                if drawn && climate.allowed.contains(fault) {
                    rate
                } else {
                    0
                }
            })
            .collect();
        Self {
            dice: dice.fork(),
            rates_ppm,
            counts: Counts::default(),
        }
    }

    /// Whether the fault strikes here and now; a strike is counted.
    pub fn strike(&mut self, fault: Fault) -> bool {
        let rate = self.rates_ppm[fault as usize];
        // A fault that the seed does not have draws nothing, so that leaving a
        // fault out changes as little as possible.
        let strikes = rate > 0 && self.dice.per_million(rate);
        if strikes {
            self.counts.add(fault);
        }
        strikes
    }

    /// Counts a fault that a scenario made by hand.
    pub fn note(&mut self, fault: Fault) {
        self.counts.add(fault);
    }

    /// No fault strikes any more.
    pub fn stop(&mut self) {
        self.rates_ppm.fill(0);
    }

    /// What struck so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// How often each fault struck, over one seed or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts(Vec<u64>);

impl Default for Counts {
    fn default() -> Self {
        Self(vec![0; Fault::ALL.len()])
    }
}

impl Counts {
    /// How often the fault struck.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Adds the strikes of another seed.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(&other.0) {
            *sum += count;
        }
    }

    /// Demands that each of the faults struck at least once.
    ///
    /// # Panics
    /// If one never did; the message shows all counts.
    pub fn assert_struck(&self, faults: &[Fault]) {
        let missing: Vec<&Fault> = faults
            .iter()
            .filter(|&&fault| self.of(fault) == 0)
            .collect();
        assert!(
            missing.is_empty(),
            "never struck: {missing:?}\n{}",
            self.report()
        );
    }

    /// A line for each fault.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for &fault in Fault::ALL {
            let _ = writeln!(text, "{:>9}  {fault:?}", self.of(fault));
        }
        text
    }

    fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_some_faults_and_not_others() {
        let faults = Faults::draw(&Climate::stormy(), &mut Dice::new(1));
        let present = faults.rates_ppm.iter().filter(|&&rate| rate > 0).count();
        assert!(present > 0 && present < Fault::ALL.len(), "{present}");
        for (fault, &rate) in Fault::ALL.iter().zip(&faults.rates_ppm) {
            let (low, high) = fault.range_ppm();
            assert!(
                rate == 0 || (low..=high).contains(&rate),
                "{fault:?}: {rate}"
            );
        }
    }

    #[test]
    fn a_calm_climate_has_none() {
        let mut faults = Faults::draw(&Climate::calm(), &mut Dice::new(1));
        assert!(!Fault::ALL.iter().any(|&fault| faults.strike(fault)));
        assert_eq!(faults.counts(), &Counts::default());
    }

    #[test]
    fn what_struck_is_counted() {
        let mut faults = Faults::draw(&Climate::of(&[Fault::ShortRead]), &mut Dice::new(1));
        let struck = (0..10_000)
            .filter(|_| faults.strike(Fault::ShortRead))
            .count();
        assert_eq!(faults.counts().of(Fault::ShortRead), struck as u64);
        faults.counts().assert_struck(&[Fault::ShortRead]);
        faults.stop();
        assert!(!faults.strike(Fault::ShortRead));
    }
}
