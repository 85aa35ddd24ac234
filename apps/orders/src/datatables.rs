//! DataTables' server-side protocol: its parameters in, its answer out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::query::{Page, Query, ROWS_LIMIT, SEARCH_LIMIT, Sorting};

/// The most columns that are sorted by.
const SORTING_LIMIT: usize = 10;

/// A request that DataTables makes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TableRequest {
    /// Counts the requests of a table; it comes back in the answer, as a number so that it carries no script.
    pub(crate) draw: i64,
    pub(crate) query: Query,
}

/// Reads the parameters; the error says what is wrong with them.
pub(crate) fn parse(query_string: &str) -> Result<TableRequest, String> {
    let params: BTreeMap<_, _> = form_urlencoded::parse(query_string.as_bytes()).into_owned().collect();
    let get = |name: &str| params.get(name).map(String::as_str);
    let number = |name: &str, default: i64| match get(name) {
        None => Ok(default),
        Some(text) => text.parse::<i64>().map_err(|_| format!("`{name}` is not a whole number")),
    };
    let (draw, offset) = (number("draw", 0)?, number("start", 0)?);
    let limit = match number("length", 10)? {
        -1 => ROWS_LIMIT,
        limit @ 0..=ROWS_LIMIT => limit,
        _ => return Err(format!("`length` is -1, or at most {ROWS_LIMIT}")),
    };
    if offset < 0 {
        return Err("`start` is negative".to_owned());
    }
    let search = get("search[value]").unwrap_or_default();
    if search.chars().count() > SEARCH_LIMIT {
        return Err(format!("the search is longer than {SEARCH_LIMIT} characters"));
    }
    let sorting =
        (0..SORTING_LIMIT).map_while(|nth| sorting(&params, nth).transpose()).collect::<Result<_, _>>()?;
    Ok(TableRequest { draw, query: Query { search: search.trim().to_owned(), sorting, offset, limit } })
}

/// The nth column to sort by; `None` after the last.
fn sorting(params: &BTreeMap<String, String>, nth: usize) -> Result<Option<Sorting>, String> {
    let Some(column) = params.get(&format!("order[{nth}][column]")) else { return Ok(None) };
    let index: usize =
        column.parse().map_err(|_| format!("`order[{nth}][column]` is not a column's number"))?;
    let descending = match params.get(&format!("order[{nth}][dir]")).map_or("asc", String::as_str) {
        "asc" => false,
        "desc" => true,
        _ => return Err(format!("`order[{nth}][dir]` is neither asc nor desc")),
    };
    let name = params.get(&format!("columns[{index}][data]"));
    let name =
        name.ok_or_else(|| format!("`order[{nth}][column]` names column {index}, which was not sent"))?;
    let sorting = Sorting::by(name, descending);
    sorting.map(Some).ok_or_else(|| format!("orders cannot be sorted by `columns[{index}][data]`"))
}

/// The answer to a good request.
pub(crate) fn answer(draw: i64, page: &Page) -> Value {
    json!({"draw": draw, "recordsTotal": page.total, "recordsFiltered": page.filtered, "data": page.orders})
}

/// The answer to a bad one, which DataTables shows to its user.
pub(crate) fn error(query_string: &str, error: &str) -> Value {
    let draw = form_urlencoded::parse(query_string.as_bytes()).find(|(name, _)| name == "draw");
    let draw = draw.and_then(|(_, value)| value.parse::<i64>().ok()).unwrap_or_default();
    json!({"draw": draw, "recordsTotal": 0, "recordsFiltered": 0, "data": [], "error": error})
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &str =
        "columns[0][data]=id&columns[1][data]=owner&columns[4][data]=price&columns[5][data]=x";

    fn good(params: &str) -> TableRequest {
        parse(&format!("{COLUMNS}&{params}")).unwrap()
    }

    #[test]
    fn requests_are_read_as_datatables_sends_them() {
        let request = good(
            "draw=3&start=20&length=10&search%5Bvalue%5D=+eur&order[0][column]=4&order[0][dir]=desc&order[1][column]=1",
        );
        assert_eq!(request.draw, 3);
        let sorting = vec![Sorting::by("price", true).unwrap(), Sorting::by("owner", false).unwrap()];
        assert_eq!(request.query, Query { search: "eur".into(), sorting, offset: 20, limit: 10 });
        assert_eq!(good("length=-1").query.limit, ROWS_LIMIT);
        assert_eq!(good("").query.limit, 10);
    }

    #[test]
    fn bad_requests_say_what_is_bad() {
        for (params, hint) in [
            ("draw=<script>", "`draw`"),
            ("start=-1", "`start`"),
            ("start=x", "`start`"),
            ("length=-2", "`length`"),
            ("length=1000000", "`length`"),
            ("order[0][column]=9", "column 9"),
            ("order[0][column]=x", "`order[0][column]`"),
            ("order[0][column]=5", "sorted by"),
            ("order[0][column]=0&order[0][dir]=up", "asc nor desc"),
        ] {
            let error = parse(&format!("{COLUMNS}&{params}")).unwrap_err();
            assert!(error.contains(hint), "{params}: {error}");
        }
        assert!(parse(&format!("search[value]={}", "x".repeat(101))).is_err());
    }

    #[test]
    fn an_error_keeps_the_number_of_the_request() {
        assert_eq!(error("start=x&draw=7", "bad")["draw"], 7);
        assert_eq!(error("draw=<b>", "bad")["draw"], 0);
    }
}
