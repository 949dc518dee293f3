//! Logs on standard error, as text or JSON, that never stop the program.
//!
//! Lines go through a queue of bounded size to a thread that writes them. When
//! nobody reads, lines are dropped and counted, and the count is told when
//! writing is possible again. Control characters are escaped, so that what a
//! peer sent can neither forge a line nor steer a terminal.

mod queue;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use queue::{Line, Queue};

/// Bytes of lines that wait to be written, at most.
pub const QUEUE_BYTES_MAX: usize = 1 << 20;
/// How long a line can be; the rest is cut off.
pub const LINE_BYTES_MAX: usize = 16 * 1_024;

const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Time, level, origin, message and fields; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = LogsError;

    fn from_str(text: &str) -> Result<Self, LogsError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(LogsError(format!(
                "{other:?} is no log format; there are `text` and `json`"
            ))),
        }
    }
}

/// Starts logging on standard error for the whole process.
///
/// `filter` is a level (`error`, `warn`, `info`, `debug`, `trace`), or such a
/// level for each part of the program: `info,tautline_std=debug`. Text is
/// coloured when standard error is a terminal and `$NO_COLOR` is not set.
///
/// Keep the result until the process ends.
///
/// # Errors
/// [`LogsError`] if the filter is not understood, or if logging was started
/// before.
pub fn start(format: Format, filter: &str) -> Result<Logs, LogsError> {
    let filter = parse_filter(filter)?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_coloured = io::stderr().is_terminal() && !no_color;
    let (logs, subscriber) = build(format, filter, is_coloured, io::stderr());
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| LogsError("logging was started before".to_owned()))?;
    Ok(logs)
}

/// Whether [`start`] takes this filter.
///
/// ```
/// use tautline_std::logs::check_filter;
///
/// assert!(check_filter("info,tautline_std=debug").is_ok());
/// assert_eq!(
///     check_filter("loud").unwrap_err().to_string(),
///     "\"loud\" is no log level; there are off, error, warn, info, debug and trace"
/// );
/// ```
///
/// # Errors
/// [`LogsError`] with what is wrong.
pub fn check_filter(filter: &str) -> Result<(), LogsError> {
    // The library takes any word for the name of a part, so a misspelt level
    // would silence everything.
    for directive in filter.split(',') {
        let (part, level) = match directive.rsplit_once('=') {
            Some((part, level)) => (part, level),
            None => ("all", directive),
        };
        if part.trim().is_empty() || level.parse::<LevelFilter>().is_err() || level.is_empty() {
            return Err(LogsError(format!(
                "{directive:?} is no log level; there are off, error, warn, info, debug and trace"
            )));
        }
    }
    Ok(())
}

/// Logging that was started. Dropped, it waits for up to a second until what
/// was logged is written.
pub struct Logs {
    queue: Arc<Queue>,
    set_filter: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl Logs {
    /// Changes what is logged from now on; the filter is written as for
    /// [`start`].
    ///
    /// # Errors
    /// [`LogsError`] if the filter is not understood; nothing is changed then.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogsError> {
        let filter = parse_filter(filter)?;
        if (self.set_filter)(filter) {
            Ok(())
        } else {
            Err(LogsError("logging has ended".to_owned()))
        }
    }

    /// Lines that were lost so far because nobody read.
    pub fn lines_dropped(&self) -> u64 {
        self.queue.lines_dropped()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.queue.wait_until_written(FLUSH_PATIENCE);
    }
}

/// Why logging could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsError(String);

impl fmt::Display for LogsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LogsError {}

fn parse_filter(text: &str) -> Result<EnvFilter, LogsError> {
    check_filter(text)?;
    EnvFilter::builder()
        .parse(text)
        .map_err(|error| LogsError(format!("{text:?} is no log level: {error}")))
}

fn build(
    format: Format,
    filter: EnvFilter,
    is_coloured: bool,
    out: impl Write + Send + 'static,
) -> (Logs, Box<dyn Subscriber + Send + Sync>) {
    let queue = Arc::new(Queue::new(QUEUE_BYTES_MAX));
    let writer = Arc::clone(&queue);
    let report = match format {
        Format::Text => text_report,
        Format::Json => json_report,
    };
    // Without a thread, lines are counted as dropped: no reason to stop.
    let _ = thread::Builder::new()
        .name("logs".to_owned())
        .spawn(move || writer.write_to(out, report));

    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_coloured)
        .with_writer(Lines(Arc::clone(&queue)));
    let (set_filter, subscriber): (Box<dyn Fn(EnvFilter) -> bool + Send + Sync>, Box<_>) =
        match format {
            Format::Text => {
                let builder = builder.with_filter_reloading();
                let handle = builder.reload_handle();
                let subscriber: Box<dyn Subscriber + Send + Sync> = Box::new(builder.finish());
                (
                    Box::new(move |filter| handle.reload(filter).is_ok()),
                    subscriber,
                )
            }
            Format::Json => {
                let builder = builder.json().flatten_event(true).with_filter_reloading();
                let handle = builder.reload_handle();
                (
                    Box::new(move |filter| handle.reload(filter).is_ok()),
                    Box::new(builder.finish()),
                )
            }
        };
    (Logs { queue, set_filter }, subscriber)
}

fn text_report(lines_dropped: u64) -> String {
    format!("WARN logs: {lines_dropped} lines were dropped, because nobody read them in time\n")
}

fn json_report(lines_dropped: u64) -> String {
    let message = "lines were dropped, because nobody read them in time";
    format!(
        "{{\"level\":\"WARN\",\"target\":\"logs\",\"message\":\"{message}\",\
         \"lines_dropped\":{lines_dropped}}}\n"
    )
}

/// Gives each event a line of the queue to write to.
struct Lines(Arc<Queue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line::new(&self.0, LINE_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests;
