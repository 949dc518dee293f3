//! What a peer did wrong, and how it is answered.

/// Why a connection was ended; the reason to count it under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Not HTTP as RFC 9112 defines it; 400.
    Malformed,
    /// The peer ended within a head or a body; 400.
    Truncated,
    /// A head, its number of fields or a trailer section over the limit; 431.
    HeadTooLarge,
    /// A target over the limit; 414.
    TargetTooLong,
    /// A body over the limit, in bytes or chunks; 413.
    BodyTooLarge,
    /// A method, transfer coding or version that is not served; 501 or 505.
    Unsupported,
    /// An expectation other than `100-continue`; 417.
    Expectation,
    /// A head that was not complete in time; 408.
    SlowHead,
    /// A body below the least rate; 408.
    SlowBody,
    /// A peer that did not take what was written to it; no answer.
    SlowReader,
    /// A peer that never spoke; no answer.
    Silent,
}

impl Refusal {
    /// Every reason, in the order of their numbers: `ALL[reason as usize]`.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Truncated,
        Self::HeadTooLarge,
        Self::TargetTooLong,
        Self::BodyTooLarge,
        Self::Unsupported,
        Self::Expectation,
        Self::SlowHead,
        Self::SlowBody,
        Self::SlowReader,
        Self::Silent,
    ];

    /// A name for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Truncated => "truncated",
            Self::HeadTooLarge => "head_too_large",
            Self::TargetTooLong => "target_too_long",
            Self::BodyTooLarge => "body_too_large",
            Self::Unsupported => "unsupported",
            Self::Expectation => "expectation",
            Self::SlowHead => "slow_head",
            Self::SlowBody => "slow_body",
            Self::SlowReader => "slow_reader",
            Self::Silent => "silent",
        }
    }

    /// The name of its problem, for those that are answered.
    pub(super) const fn problem(self) -> &'static str {
        match self {
            Self::Malformed => "malformed-request",
            Self::Truncated => "truncated-request",
            Self::HeadTooLarge => "head-too-large",
            Self::TargetTooLong => "target-too-long",
            Self::BodyTooLarge => "body-too-large",
            Self::Unsupported => "unsupported",
            Self::Expectation => "expectation",
            Self::SlowHead => "slow-head",
            Self::SlowBody => "slow-body",
            Self::SlowReader => "slow-reader",
            Self::Silent => "silent",
        }
    }
}

/// A refusal with its answer: a status, and a sentence for its problem details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) refusal: Refusal,
    pub(super) status: u16,
    pub(super) detail: &'static str,
}

impl Fault {
    pub(super) const fn malformed(detail: &'static str) -> Self {
        Self::new(Refusal::Malformed, 400, detail)
    }

    pub(super) const fn unsupported(status: u16, detail: &'static str) -> Self {
        Self::new(Refusal::Unsupported, status, detail)
    }

    pub(super) const fn new(refusal: Refusal, status: u16, detail: &'static str) -> Self {
        Self {
            refusal,
            status,
            detail,
        }
    }

    pub(super) const HEAD_TOO_LARGE: Self = Self::new(
        Refusal::HeadTooLarge,
        431,
        "The head is longer than this server takes.",
    );
    pub(super) const TOO_MANY_FIELDS: Self = Self::new(
        Refusal::HeadTooLarge,
        431,
        "The head has more fields than this server takes.",
    );
    pub(super) const TRAILER_TOO_LARGE: Self = Self::new(
        Refusal::HeadTooLarge,
        431,
        "The trailer section is longer than this server takes.",
    );
    pub(super) const TARGET_TOO_LONG: Self = Self::new(
        Refusal::TargetTooLong,
        414,
        "The request target is longer than this server takes.",
    );
    pub(super) const BODY_TOO_LARGE: Self = Self::new(
        Refusal::BodyTooLarge,
        413,
        "The body is longer than this resource takes.",
    );
    pub(super) const TOO_MANY_CHUNKS: Self = Self::new(
        Refusal::BodyTooLarge,
        413,
        "The body has more chunks than this server takes.",
    );
    pub(super) const TRUNCATED: Self = Self::new(
        Refusal::Truncated,
        400,
        "The connection ended within the request.",
    );
    pub(super) const SLOW_HEAD: Self =
        Self::new(Refusal::SlowHead, 408, "The head was not complete in time.");
    pub(super) const SLOW_BODY: Self = Self::new(
        Refusal::SlowBody,
        408,
        "The body came more slowly than this server waits for.",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_in_order() {
        for (number, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number, "{}", reason.as_str());
        }
    }
}
