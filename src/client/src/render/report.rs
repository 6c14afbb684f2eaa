//! The report: one page of HTML with everything in it. No script, no font, no picture from elsewhere, and a policy in the page
//! that forbids them; every text from the record is escaped, first for terminals and then for HTML. What the picture shows is
//! in the tables, too.

use backstep_bus::record::{PackageStatisticsRow, StepStatisticsRow};
use backstep_bus::{ListRow, StatisticsRow};

use crate::render::escape::escaped;
use crate::render::result::short;
use crate::render::time;

const STYLE: &str = include_str!("report.css");
/// Of the picture, in its own units.
const WIDTH: i64 = 1_000;
const HEIGHT: i64 = 160;
const FLOOR: i64 = 140;

/// What the page is about.
pub(crate) struct Facts {
    pub(crate) now: i64,
    /// From when on; 0 for everything.
    pub(crate) since: i64,
    /// Newest first.
    pub(crate) transactions: Vec<ListRow>,
    pub(crate) kinds: Vec<StatisticsRow>,
    pub(crate) steps: Vec<StepStatisticsRow>,
    pub(crate) packages: Vec<PackageStatisticsRow>,
    /// Transactions that a page has at most.
    pub(crate) most: usize,
}

/// The page.
pub(crate) fn page(facts: &Facts) -> String {
    let since = if facts.since > 0 { format!("since {}", time::full(facts.since)) } else { "since the record began".to_owned() };
    let failed = facts.transactions.iter().filter(|row| outcome(row) == "failed").count();
    let cut = if facts.transactions.len() >= facts.most { format!(", the newest {}", facts.most) } else { String::new() };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Backstep report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>Package changes</h1>\n<p>{} transactions {since}{cut}; {failed} failed. Written {}.</p>\n</header>\n<main>\n{}{}{}{}{}{}</main>\n\
         </body>\n</html>\n",
        facts.transactions.len(),
        time::full(facts.now),
        timeline(facts),
        durations(facts),
        failures(facts),
        packages(facts),
        steps(facts),
        all(facts),
    )
}

/// Safe in text and in quoted attributes.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in escaped(raw).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// How long; what took next to nothing has a `<` in it.
fn took(us: i64) -> String {
    text(&time::duration(us))
}

/// How it ended: completed, failed, cancelled; or open.
fn outcome(row: &ListRow) -> &'static str {
    match row.status.as_str() {
        "completed" => "completed",
        "failed" => "failed",
        "cancelled" => "cancelled",
        _ => "open",
    }
}

fn section(id: &str, title: &str, body: &str) -> String {
    format!("<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n{body}</section>\n")
}

/// A table; the first cell of a row is its heading. Cells are HTML.
fn table(caption: &str, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head: String = columns.iter().map(|column| format!("<th scope=\"col\">{column}</th>")).collect();
    let body: String = rows.map(|cells| line(&cells)).collect();
    if body.is_empty() {
        return "<p>None.</p>\n".to_owned();
    }
    format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\n<table>\n<caption>{caption}</caption>\n\
         <thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>\n"
    )
}

fn line(cells: &[String]) -> String {
    let cells = cells.iter().enumerate().map(|(place, cell)| match place {
        0 => format!("<th scope=\"row\">{cell}</th>"),
        _ => format!("<td>{cell}</td>"),
    });
    format!("<tr>{}</tr>\n", cells.collect::<String>())
}

/// A bar for each transaction, at its time; the longer it took the higher, and the shape of its end is said in words as well.
fn timeline(facts: &Facts) -> String {
    let times = || facts.transactions.iter().map(|row| row.created);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return section("timeline", "Timeline", "<p>Nothing happened.</p>\n");
    };
    let span = (last - first).max(1);
    let bars: String = facts
        .transactions
        .iter()
        .map(|row| bar(row, i64::try_from(i128::from(row.created - first) * 980 / i128::from(span)).unwrap_or(0)))
        .collect();
    let said = format!("{} transactions from {} to {}", facts.transactions.len(), time::full(first), time::full(last));
    let legend =
        ["completed", "failed", "cancelled", "open"].map(|name| format!("<li><span class=\"mark {name}\"></span>{name}</li>")).concat();
    let body = format!(
        "<figure>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{said}; each is in the table below\">\n\
         <line class=\"floor\" x1=\"0\" y1=\"{FLOOR}\" x2=\"{WIDTH}\" y2=\"{FLOOR}\"/>\n{bars}</svg>\n\
         <figcaption>{said}. Higher bars took longer.<ul class=\"legend\">{legend}</ul></figcaption>\n</figure>\n"
    );
    section("timeline", "Timeline", &body)
}

fn bar(row: &ListRow, x: i64) -> String {
    // Each doubling of the duration is a step; what took no time has the smallest bar.
    let seconds = row.duration.unwrap_or(0).max(0) / 1_000_000 + 1;
    let height = (10 + 12 * i64::from(seconds.ilog2())).min(FLOOR - 10);
    let said = format!("{} {}, {}, {}", time::full(row.created), text(&row.kind), outcome(row), took(row.duration.unwrap_or(0).max(1)));
    format!(
        "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"6\" height=\"{height}\"><title>{said}</title></rect>\n",
        outcome(row),
        x + 7,
        FLOOR - height
    )
}

fn durations(facts: &Facts) -> String {
    let rows = facts.kinds.iter().map(|row| {
        let mut cells = vec![text(&row.kind)];
        cells.extend([row.count, row.completed, row.failed, row.in_progress].map(|number| number.to_string()));
        cells.extend([row.mean_us, row.p50_us, row.p95_us].map(took));
        cells
    });
    let columns = ["Kind", "Ended", "Completed", "Failed", "Running", "Mean", "Median", "95 %"];
    section("durations", "Durations", &table("How each kind fared", &columns, rows))
}

fn failures(facts: &Facts) -> String {
    let failed = facts.transactions.iter().filter(|row| outcome(row) == "failed");
    let rows = failed.map(|row| {
        let of = |field: &Option<String>| text(field.as_deref().unwrap_or_default());
        vec![id(row), time::full(row.created), text(&row.kind), text(&row.state), of(&row.error_code), of(&row.error_text)]
    });
    section("failures", "Failures", &table("Transactions that failed", &["Id", "Requested", "Kind", "State", "Code", "Why"], rows))
}

fn packages(facts: &Facts) -> String {
    let rows =
        facts.packages.iter().map(|row| vec![text(&row.package), row.changes.to_string(), row.undone.to_string(), time::full(row.last)]);
    let columns = ["Package", "Changes", "Undone", "Last"];
    section("packages", "Most-changed packages", &table("Packages with the most changes", &columns, rows))
}

fn steps(facts: &Facts) -> String {
    let rows = facts.steps.iter().map(|row| {
        let mut cells = vec![text(&row.title), row.count.to_string(), row.failed.to_string()];
        cells.extend([row.total_us, row.p50_us, row.p95_us, row.max_us].map(|us| took(us.max(1))));
        cells
    });
    let columns = ["Step", "Done", "Failed", "In all", "Median", "95 %", "Longest"];
    section("steps", "Steps", &table("How long each step took", &columns, rows))
}

fn all(facts: &Facts) -> String {
    let rows = facts.transactions.iter().map(|row| {
        let of = |field: &Option<String>| text(field.as_deref().unwrap_or_default());
        let (what, why) = (of(&row.summary), of(&row.description));
        let long = took(row.duration.unwrap_or(0));
        let ended = format!("<span class=\"mark {0}\"></span>{1}", outcome(row), text(&row.state));
        vec![id(row), time::full(row.created), text(&row.kind), ended, long, of(&row.user), what, why]
    });
    let columns = ["Id", "Requested", "Kind", "State", "Took", "User", "What", "Why"];
    section("all", "All transactions", &table("Every transaction, newest first", &columns, rows))
}

fn id(row: &ListRow) -> String {
    format!("<code title=\"{}\">{}</code>", text(&row.id), text(&short(&row.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "</td><script>alert(1)</script> \" onload='x' &amp; \u{202e} \x1b[31m";

    fn facts() -> Facts {
        let row = |status: &str, created: i64| ListRow {
            id: "01936b2e-7c1a-7d3e-9f10-0123456789ab".into(),
            path: zbus::OwnedObjectPath::try_from("/x").expect("a path"),
            kind: HOSTILE.into(),
            state: HOSTILE.into(),
            status: status.into(),
            description: Some(HOSTILE.into()),
            tags: None,
            uid: Some(0),
            user: Some(HOSTILE.into()),
            origin: None,
            created,
            started: None,
            finished: None,
            duration: Some(3_000_000),
            summary: Some(HOSTILE.into()),
            items_done: 0,
            items_total: 1,
            error_code: Some(HOSTILE.into()),
            error_text: Some(HOSTILE.into()),
            reverts: None,
            reverted_by: None,
        };
        Facts {
            now: 1_700_000_000_000_000,
            since: 0,
            transactions: vec![row("completed", 1_600_000_000_000_000), row("failed", 1_500_000_000_000_000)],
            kinds: vec![StatisticsRow { kind: HOSTILE.into(), ..StatisticsRow::default() }],
            steps: vec![StepStatisticsRow { title: HOSTILE.into(), ..StepStatisticsRow::default() }],
            packages: vec![PackageStatisticsRow { package: HOSTILE.into(), ..PackageStatisticsRow::default() }],
            most: 5_000,
        }
    }

    /// The names of all elements in order; every one that is opened is closed, in the reverse order.
    fn elements(page: &str) -> Vec<String> {
        let (mut open, mut all) = (Vec::new(), Vec::new());
        for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().expect("a tag ends")) {
            let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
            if tag.starts_with('!') || tag.ends_with('/') || name == "meta" {
                continue;
            }
            if tag.starts_with('/') {
                assert_eq!(open.pop().as_deref(), Some(name.as_str()), "{tag}");
            } else {
                all.push(name.clone());
                open.push(name);
            }
        }
        assert_eq!(open, Vec::<String>::new());
        all
    }

    /// `anywhere` lets a browser make a column as narrow as a letter; a small screen then showed every heading downwards.
    #[test]
    fn words_stay_whole_where_there_is_no_room() {
        assert!(STYLE.contains("overflow-wrap: break-word") && !STYLE.contains("anywhere"));
    }

    #[test]
    fn what_is_hostile_is_text() {
        let page = page(&facts());
        let found = elements(&page);
        assert!(!found.iter().any(|name| name == "script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)") && page.contains("&amp;amp;") && page.contains("onload=&#39;x&#39;"));
        assert!(!page.contains('\u{202e}') && !page.contains('\x1b'));
        let quoted = |tag: &str| tag.matches('"').count().is_multiple_of(2) && !tag.contains("onload");
        assert!(page.split('<').skip(1).filter_map(|rest| rest.split('>').next()).all(quoted));
    }

    #[test]
    fn the_page_stands_alone_and_is_accessible() {
        let page = page(&facts());
        let found = elements(&page);
        for outside in ["src=", "href=", "url(", "@import", "<link", "http://", "https://"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme: dark") && page.contains("<html lang=\"en\">"));
        assert!(page.contains("role=\"img\" aria-label=\"2 transactions"));
        let count = |name: &str| found.iter().filter(|other| *other == name).count();
        assert_eq!([count("h1"), count("main"), count("section"), count("h2"), count("svg"), count("rect")], [1, 1, 6, 6, 1, 2]);
        assert_eq!((count("table"), count("caption"), count("thead")), (5, 5, 5));
        assert_eq!(page.matches("<th scope=").count(), count("th"));
    }

    #[test]
    fn an_empty_record_has_a_page_too() {
        let nothing = Facts { transactions: Vec::new(), kinds: Vec::new(), steps: Vec::new(), packages: Vec::new(), ..facts() };
        assert_eq!(elements(&page(&nothing)).iter().filter(|name| *name == "section").count(), 6);
    }
}
