//! Long lists, page by page.

use serde::Serialize;

use super::answer::Answer;
use super::query::Query;

/// Rows of one page, unless fewer are asked for.
const ROWS_MAX: usize = 500;
/// Entries that are looked at for one page, so that a filter that lets few
/// through keeps nobody waiting.
const LOOKED_AT_MAX: usize = 10_000;

/// What every list may be asked with.
pub(super) const PARAMETERS: [&str; 2] = ["after", "limit"];

/// Some rows of a list.
#[derive(Debug)]
pub(super) struct Rows<T> {
    pub(super) rows: Vec<T>,
    /// What `after` has to be for the next page.
    pub(super) next: Option<String>,
}

/// The rows behind the place that `after` names, at most `limit`. `entry_from`
/// gives the first entry at or behind a place, with its place; `row` what is
/// shown of it, if it is.
pub(super) fn collect<E, T: Serialize>(
    query: &Query<'_>,
    entry_from: impl Fn(usize) -> Option<(usize, E)>,
    row: impl Fn(E) -> Option<T>,
) -> Result<Rows<T>, Answer> {
    let after = query.number("after")?;
    let mut place = after.map_or(0, |last| last.saturating_add(1));
    let limit = query.number("limit")?.unwrap_or(ROWS_MAX);
    let limit = limit.clamp(1, ROWS_MAX);
    let mut rows = Vec::new();
    let mut looked_at = 0;
    while rows.len() < limit
        && looked_at < LOOKED_AT_MAX
        && let Some((at, entry)) = entry_from(place)
    {
        place = at + 1;
        looked_at += 1;
        rows.extend(row(entry));
    }
    let more = entry_from(place).is_some();
    let next = more.then(|| place.saturating_sub(1).to_string());
    Ok(Rows { rows, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the even numbers up to 60,000, each at its place, those that end with
    /// 8.
    fn page(query: &str) -> Result<(Vec<usize>, Option<String>), Answer> {
        let query = Query::of(Some(query), &PARAMETERS)?;
        let even_from = |place: usize| {
            let even = (place <= 60_000).then(|| place.next_multiple_of(2))?;
            Some((even, even))
        };
        let ends_with_8 = |number| (number % 10 == 8).then_some(number);
        let page = collect(&query, even_from, ends_with_8)?;
        Ok((page.rows, page.next))
    }

    #[test]
    fn a_page_ends_with_its_limit() {
        assert_eq!(page("limit=2").unwrap(), (vec![8, 18], Some("18".into())));
        assert_eq!(page("limit=0&after=18").unwrap().0, [28]);
        assert_eq!(page("").unwrap().0.len(), ROWS_MAX);
        assert_eq!(page("limit=9999").unwrap().0.len(), ROWS_MAX);
        assert_eq!(page("after=59988").unwrap(), (vec![59_998], None));
        assert_eq!(page("after=18446744073709551615").unwrap(), (vec![], None));
        assert_eq!(page("after=x").unwrap_err().status, 400);
    }

    #[test]
    fn a_page_ends_when_enough_was_looked_at() {
        let query = Query::of(None, &PARAMETERS).unwrap();
        let all_from = |place| Some((place, place));
        let page = collect(&query, all_from, |_| None::<usize>).unwrap();
        assert_eq!(page.rows, [0; 0]);
        assert_eq!(page.next, Some((LOOKED_AT_MAX - 1).to_string()));
    }
}
