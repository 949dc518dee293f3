//! `--watch`: what a command shows, again and again.

use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::Failure;
use crate::text::print;

/// Where a command writes what it shows.
pub(super) type Out<'a> = &'a mut dyn FnMut(&str) -> Result<(), Failure>;

#[derive(Debug, Args)]
pub(super) struct Watch {
    /// Show it again and again, every 2 seconds or so many
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
}

impl Watch {
    /// Shows it once or, if it is watched, until the process is ended: on a
    /// terminal in place, elsewhere with an empty line between. What cannot be
    /// shown the first time ends the command; later it is told instead.
    pub(super) fn run(
        &self,
        json: bool,
        mut show: impl FnMut(Out<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(seconds) = self.watch else {
            return show(&mut print);
        };
        let period = Duration::from_secs(seconds);
        let screen = Screen::on(ProgressDrawTarget::stdout());
        if json || screen.is_hidden() {
            show(&mut print)?;
            loop {
                thread::sleep(period);
                print("\n")?;
                if let Err(failure) = show(&mut print) {
                    failure.tell();
                }
            }
        }
        screen.show(&whole(&mut show)?);
        loop {
            thread::sleep(period);
            match whole(&mut show) {
                Ok(text) => screen.show(&text),
                Err(failure) => screen.show(&failure.message),
            }
        }
    }
}

/// What is shown at once, as one text.
fn whole(show: &mut impl FnMut(Out<'_>) -> Result<(), Failure>) -> Result<String, Failure> {
    let mut text = String::new();
    show(&mut |part| {
        text.push_str(part);
        Ok(())
    })?;
    Ok(text)
}

/// The terminal's lines below the prompt: each text takes the place of the one
/// before, as far as there are lines.
struct Screen {
    lines: ProgressBar,
}

impl Screen {
    fn on(target: ProgressDrawTarget) -> Self {
        let lines = ProgressBar::with_draw_target(None, target);
        Self {
            lines: match ProgressStyle::with_template("{msg}") {
                Ok(style) => lines.with_style(style),
                Err(_) => lines,
            },
        }
    }

    fn is_hidden(&self) -> bool {
        self.lines.is_hidden()
    }

    fn show(&self, text: &str) {
        self.lines.set_message(text.trim_end().to_owned());
        self.lines.tick();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal of 20 by 4.
    #[derive(Clone, Debug, Default)]
    struct Terminal {
        cells: Arc<Mutex<Cells>>,
    }

    #[derive(Debug, Default)]
    struct Cells {
        lines: Vec<String>,
        row: usize,
        column: usize,
    }

    impl Terminal {
        fn text(&self) -> Vec<String> {
            let cells = self.cells.lock().unwrap();
            let mut lines: Vec<_> = cells.lines.iter().map(|line| line.trim_end()).collect();
            while lines.last() == Some(&"") {
                lines.pop();
            }
            lines.into_iter().map(str::to_owned).collect()
        }

        fn put(&self, text: &str) {
            let mut cells = self.cells.lock().unwrap();
            for character in text.chars() {
                match character {
                    '\r' => cells.column = 0,
                    '\n' => (cells.row, cells.column) = (cells.row + 1, 0),
                    character => {
                        if cells.column == usize::from(self.width()) {
                            (cells.row, cells.column) = (cells.row + 1, 0);
                        }
                        let (row, column) = (cells.row, cells.column);
                        if cells.lines.len() <= row {
                            cells.lines.resize(row + 1, String::new());
                        }
                        let mut line: Vec<char> = cells.lines[row].chars().collect();
                        line.resize(line.len().max(column + 1), ' ');
                        line[column] = character;
                        cells.lines[row] = line.into_iter().collect();
                        cells.column += 1;
                    }
                }
            }
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            20
        }

        fn height(&self) -> u16 {
            4
        }

        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            self.cells.lock().unwrap().row -= n;
            Ok(())
        }

        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.cells.lock().unwrap().row += n;
            Ok(())
        }

        fn move_cursor_right(&self, n: usize) -> io::Result<()> {
            self.cells.lock().unwrap().column += n;
            Ok(())
        }

        fn move_cursor_left(&self, n: usize) -> io::Result<()> {
            self.cells.lock().unwrap().column -= n;
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.put(text);
            self.put("\n");
            Ok(())
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.put(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            let mut cells = self.cells.lock().unwrap();
            let row = cells.row;
            if let Some(line) = cells.lines.get_mut(row) {
                line.clear();
            }
            cells.column = 0;
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_frame_takes_the_place_of_the_one_before() {
        let terminal = Terminal::default();
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let screen = Screen::on(target);
        screen.show("NAME  STATE\nweb   none\ndb    open\n");
        assert_eq!(terminal.text(), ["NAME  STATE", "web   none", "db    open"]);
        screen.show("NAME  STATE\n{web} {msg}\n");
        assert_eq!(terminal.text(), ["NAME  STATE", "{web} {msg}"]);
        screen.show("one line that is longer than it is wide\n3\n4\n5\n6\n");
        assert_eq!(
            terminal.text(),
            ["one line that is lon", "ger than it is wide", "3", "4"]
        );
        screen.show("");
        assert_eq!(terminal.text(), [""; 0]);
    }

    #[test]
    fn seconds_need_not_be_said() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            watch: Watch,
        }
        let period = |words: &[&str]| {
            let line = ["status"].iter().chain(words);
            <Line as clap::Parser>::try_parse_from(line)
                .map(|line| line.watch.watch)
                .ok()
        };
        assert_eq!(period(&[]), Some(None));
        assert_eq!(period(&["--watch"]), Some(Some(2)));
        assert_eq!(period(&["--watch", "7"]), Some(Some(7)));
        assert_eq!(period(&["--watch", "0"]), None);
    }
}
