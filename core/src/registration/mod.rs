//! Who the clients are: the relay's registry and the client's registrar.
//!
//! A client registers at its start, then every few hours, and whenever it sees
//! that the relay is another [`Incarnation`](crate::Incarnation). The relay
//! gives an identity and its secret at the first registration, and keeps
//! neither on disk: the secret is derived from the relay's key and the
//! identity, so a relay that restarted knows every client that proves itself.
//!
//! * [`Registry`]: the relay's side. A registration goes in, an answer comes
//!   out in the same call; a client that does not return is forgotten.
//! * [`Registrar`]: the client's side. It says when to register.
//! * [`Selector`]: the client's side. It says with which relay.
//! * [`body`]: the JSON of both.

pub mod body;
#[cfg(any(test, feature = "_test"))]
pub mod fuzz;
mod registrar;
mod registry;
mod selector;

pub use body::{Answer, Interface, Request, Verdict};
#[cfg(feature = "_test")]
pub use registrar::REGISTRAR_VISITS;
pub use registrar::{Registrar, RegistrarEvent, RegistrarSettings, RegistrarStage, RegistrarState};
pub use registry::{
    Admission, ClientRecord, ConnectRefusal, GrantSettings, Qualifier, Refusal, Registry,
    RegistryCounts, RegistryEffect, RegistryLimits, RegistrySettings, ReleaseReason, Role, Site,
    Subnet, SubnetName,
};
#[cfg(feature = "_test")]
pub use selector::SELECTOR_VISITS;
pub use selector::{Selector, SelectorEffect, SelectorEvent, SelectorSettings, SelectorStage};
