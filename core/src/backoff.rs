//! Waiting longer after each failure.
