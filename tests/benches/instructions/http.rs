//! A connection that is kept alive; an operation is a request of 8 fields and
//! its response of 64 bytes.

use std::sync::Arc;

use super::exchange::serve;
use super::scenario::{Scenario, counted};
use tautline_core::collections::Pool;
use tautline_core::http::{Server, Settings};
use tautline_core::{Instant, OUTPUT_BUF_MIN};

const OPERATIONS: usize = 1_000;

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "http/request",
    unit: "connections",
    sizes: &[1],
    run: |_| {
        let mut server = Server::new(Instant::ORIGIN, &Arc::new(Settings::default()));
        let mut pool = Pool::new(8, 65_536);
        let mut buf = [0; OUTPUT_BUF_MIN];
        // The first one takes buffers that are used again.
        assert!(serve(&mut server, &mut buf, &mut pool));
        counted(|| {
            for _ in 0..OPERATIONS {
                assert!(serve(&mut server, &mut buf, &mut pool));
            }
        });
        OPERATIONS
    },
}];
