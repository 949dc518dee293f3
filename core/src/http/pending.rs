//! Effects that wait for `poll`.

/// A set of effects, each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending(u16);

impl Pending {
    pub(super) const NONE: Self = Self(0);
    /// A refusal, or a failure.
    pub(super) const REFUSED: Self = Self(1);
    pub(super) const FINISHED: Self = Self(1 << 1);
    /// What is finished was cut short.
    pub(super) const ABORTED: Self = Self(1 << 2);
    /// A head: of a request, or of a response.
    pub(super) const HEAD: Self = Self(1 << 3);
    pub(super) const TAKE: Self = Self(1 << 4);
    pub(super) const BODY: Self = Self(1 << 5);
    pub(super) const BODY_END: Self = Self(1 << 6);
    pub(super) const SEND_FILE: Self = Self(1 << 7);
    pub(super) const PULL: Self = Self(1 << 8);
    pub(super) const UPGRADED: Self = Self(1 << 9);
    pub(super) const RESUME: Self = Self(1 << 10);
    pub(super) const FINISH: Self = Self(1 << 11);
    pub(super) const ABORT: Self = Self(1 << 12);

    /// What belongs to one exchange and ends with it.
    pub(super) const OF_EXCHANGE: Self = Self(
        Self::HEAD.0
            | Self::TAKE.0
            | Self::BODY.0
            | Self::BODY_END.0
            | Self::SEND_FILE.0
            | Self::PULL.0,
    );

    pub(super) fn set(&mut self, effect: Self) {
        self.0 |= effect.0;
    }

    pub(super) fn clear(&mut self, effects: Self) {
        self.0 &= !effects.0;
    }

    pub(super) fn has(self, effect: Self) -> bool {
        self.0 & effect.0 != 0
    }

    pub(super) fn take(&mut self, effect: Self) -> bool {
        let had = self.has(effect);
        self.clear(effect);
        had
    }
}
