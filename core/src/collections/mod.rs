//! collections
mod pool;
pub use pool::Pool;
