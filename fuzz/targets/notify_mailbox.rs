//! See `tautline_core::notify::fuzz::mailbox`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tautline_core::notify::fuzz::mailbox as check;

fuzz_target!(|data: &[u8]| check(data));
