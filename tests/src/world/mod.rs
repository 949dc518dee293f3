//! world
pub mod disk;
pub mod fault;
