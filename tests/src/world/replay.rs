//! Seeds: many in a test, one again when it failed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::{Climate, Counts, World};

/// A scenario over many seeds.
pub struct Scenario {
    file: &'static str,
    test: &'static str,
    seeds: u64,
    climate: Climate,
}

impl Scenario {
    /// The scenario of a test, by the name of its file in `tests/tests/` and
    /// its own, so that a failing seed can print how to replay it.
    pub fn new(file: &'static str, test: &'static str) -> Self {
        Self {
            file,
            test,
            seeds: 100,
            climate: Climate::stormy(),
        }
    }

    /// How many seeds it runs; `WORLD_SEEDS` overrides it.
    #[must_use]
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds;
        self
    }

    /// The faults it may have; every one if nothing is said.
    #[must_use]
    pub fn climate(mut self, climate: Climate) -> Self {
        self.climate = climate;
        self
    }

    /// Runs the scenario over its seeds and returns what struck. Every seed
    /// runs twice and has to leave the same trace: promise X1.
    ///
    /// With `WORLD_SEED` set only that one runs, and what struck says nothing:
    /// `None`.
    ///
    /// # Panics
    /// As the scenario does; before that it prints how to replay the seed.
    pub fn run(&self, scenario: impl Fn(&mut World)) -> Option<Counts> {
        if let Some(seed) = replayed_seed() {
            self.run_seed(seed, &scenario);
            return None;
        }
        let seeds = number("WORLD_SEEDS").unwrap_or(self.seeds);
        let mut counts = Counts::default();
        for seed in 0..seeds {
            let world = self.run_seed(seed, &scenario);
            let again = self.run_seed(seed, &scenario);
            assert_eq!(
                world.trace_hash(),
                again.trace_hash(),
                "seed {seed} of {} has two traces",
                self.test
            );
            counts.merge(world.faults());
        }
        Some(counts)
    }

    fn run_seed(&self, seed: u64, scenario: &impl Fn(&mut World)) -> World {
        let mut world = World::new(seed, &self.climate);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(&mut world))) {
            let (file, test) = (self.file, self.test);
            eprintln!(
                "seed {seed} failed at {:?}; replay it with\n    WORLD_SEED={seed} \
                 cargo test -p tautline-tests --test {file} {test} -- --exact --nocapture",
                world.now()
            );
            resume_unwind(panic);
        }
        world
    }
}

/// The one seed that is to run, with its trace shown.
pub(super) fn replayed_seed() -> Option<u64> {
    number("WORLD_SEED")
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} is {text:?}, but a number is needed"),
    }
}
