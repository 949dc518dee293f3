//! Why a client does not get what it asked for.

/// Why a registration or a proof is refused. Each is the client's doing,
/// except [`Full`](Self::Full).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The body is not what it should be.
    #[error("the body is no registration")]
    Malformed,
    /// The client speaks another version.
    #[error("the protocol version is not spoken here")]
    Protocol,
    /// The hostname is empty, too long or has control characters.
    #[error("the hostname is empty, too long or has control characters")]
    Hostname,
    /// Too many addresses, or a prefix that is too long.
    #[error("too many interfaces, or a prefix longer than its address")]
    Interfaces,
    /// A secret would travel in clear.
    #[error("a first registration needs TLS, loopback, or secrets_over_plaintext")]
    SecretInClear,
    /// The proof is missing or wrong.
    #[error("the proof of identity is missing or wrong")]
    Unproven,
    /// The client is not registered with this run of the relay.
    #[error("the client is not registered; it has to register anew")]
    Unknown,
    /// A number or counter that was used before.
    #[error("the number was used before")]
    Replayed,
    /// Two machines have the client's identity, and a new one would travel in
    /// clear.
    #[error("two machines have this identity; one of them has to register as a new client")]
    Cloned,
    /// Too many clients of one address have not used the keys that they got.
    #[error("too many newcomers from this address that never used their keys")]
    Newcomers,
    /// The registry is full, or its share for newcomers is.
    #[error("the table of clients is full")]
    Full,
}

impl Refusal {
    /// The reason in one word, to count it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Protocol => "protocol",
            Self::Hostname => "hostname",
            Self::Interfaces => "interfaces",
            Self::SecretInClear => "secret_in_clear",
            Self::Unproven => "unproven",
            Self::Unknown => "unknown",
            Self::Replayed => "replayed",
            Self::Cloned => "cloned",
            Self::Newcomers => "newcomers",
            Self::Full => "full",
        }
    }
}

/// Why a client may not open a persistent connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectRefusal {
    /// The client is not registered.
    #[error("the client is not registered; it has to register anew")]
    Unknown,
    /// The relay grants none.
    #[error("persistent connections are disabled here")]
    Disabled,
    /// The relay is a root, which grants none.
    #[error("a root has no persistent connections")]
    Root,
    /// The last registration was not granted one, or it was used already.
    #[error("no persistent connection was granted at the last registration")]
    NotGranted,
    /// It came after the grant's end.
    #[error("the grant of the last registration has ended")]
    GrantEnded,
    /// Datagrams reach the client, which proved it.
    #[error("datagrams reach the client, so it needs no persistent connection")]
    UdpProven,
}

impl ConnectRefusal {
    /// The reason in one word, to count it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Disabled => "disabled",
            Self::Root => "root",
            Self::NotGranted => "not_granted",
            Self::GrantEnded => "grant_ended",
            Self::UdpProven => "udp_proven",
        }
    }
}

/// Why a client may not have a persistent connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// The relay grants none.
    Disabled,
    /// The relay is a root.
    Root,
    /// The client did not wish for one.
    NotAsked,
    /// The relay has as many as it may.
    TotalCap,
    /// The subnet has.
    SubnetCap,
    /// The address has.
    AddressCap,
    /// It was granted one, and did not come in time.
    GrantEnded,
}

impl Denial {
    /// The word of the verdict.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Root => "root",
            Self::NotAsked => "not_asked",
            Self::TotalCap => "total_cap",
            Self::SubnetCap => "subnet_cap",
            Self::AddressCap => "address_cap",
            Self::GrantEnded => "grant_ended",
        }
    }
}
