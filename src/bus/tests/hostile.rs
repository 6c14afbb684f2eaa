//! Six thousand hostile arguments in every place of a request: each is refused as its code says, or becomes exactly the item.

use std::collections::HashMap;

use backstep_bus::{OptionValue, PackageArgument, request_from_options};
use backstep_core::hostile::arguments;
use backstep_core::limits::MAX_TAG;
use backstep_core::{ErrorCode, Failure, Options, Request};

fn read(key: &str, value: OptionValue) -> Result<Request, Failure> {
    let options = HashMap::from([(key.to_owned(), value)]);
    request_from_options("install", "", options, &Options::default()).map(|parsed| parsed.request)
}

fn packages(action: &str, name: &str, version: &str) -> Result<Request, Failure> {
    let rows: Vec<PackageArgument> = vec![(action.to_owned(), name.to_owned(), version.to_owned())];
    read("packages", OptionValue::Packages(rows))
}

/// Harmless: nothing that apt, dpkg, a shell, a terminal or a file system reads as more than a name or version.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || ".+~:-".contains(c)) && !text.starts_with(['-', '+', '.', '~', ':'])
}

fn refused(result: &Result<Request, Failure>, code: ErrorCode, text: &str) {
    let failure = result.as_ref().expect_err(text);
    assert_eq!(failure.code, code, "{text:?}");
    assert!(failure.text.chars().count() <= 2_000, "an error of {} characters", failure.text.len());
    assert!(!failure.text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn names_versions_and_actions_are_refused_or_exactly_the_item() {
    let (mut names, mut versions) = (0, 0);
    for text in arguments() {
        let result = packages("", &text, "");
        match &result {
            Ok(request) => {
                let item = &request.items[0];
                let arch = item.arch.as_ref().map(|arch| format!(":{arch}")).unwrap_or_default();
                assert_eq!(format!("{}{arch}", item.name), text);
                assert!(is_plain(&text), "{text:?}");
                names += 1;
            }
            Err(_) => refused(&result, ErrorCode::RequestMalformed, &text),
        }
        let result = packages("", "hello", &text);
        match &result {
            Ok(request) => {
                assert_eq!(request.items[0].version.as_ref().map(|version| version.as_str()).unwrap_or_default(), text);
                assert!(is_plain(&text), "{text:?}");
                versions += 1;
            }
            Err(_) => refused(&result, ErrorCode::RequestMalformed, &text),
        }
        let result = packages(&text, "hello", "");
        assert!(result.is_err() || text.is_empty() || ["install", "remove", "purge", "upgrade"].contains(&text.as_str()), "{text:?}");
    }
    assert!(names > 100 && versions > 100, "{names} names, {versions} versions");
}

#[test]
fn tags_are_refused_or_exactly_what_was_said() {
    let mut taken = 0;
    for text in arguments() {
        let result = read("tags", OptionValue::Texts(vec![text.clone()]));
        match &result {
            Ok(request) => {
                assert_eq!(request.tags.texts(), [text.as_str()]);
                assert!(text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._:=/+-@".contains(c)), "{text:?}");
                assert!(text.starts_with(|c: char| c.is_ascii_alphanumeric()), "{text:?}");
                taken += 1;
            }
            Err(_) if text.len() > MAX_TAG => refused(&result, ErrorCode::RequestTooLarge, &text),
            Err(_) => refused(&result, ErrorCode::RequestMalformed, &text),
        }
    }
    assert!(taken > 100, "{taken} tags");
}

#[test]
fn keys_and_values_of_options_are_a_closed_list() {
    for text in arguments() {
        let result = read(&text, OptionValue::Flag(true));
        refused(&result, ErrorCode::RequestUnknownOption, &text);
        for key in ["on-failure", "services", "conffiles", "origin"] {
            refused(&read(key, OptionValue::Text(text.clone())), ErrorCode::RequestMalformed, &text);
        }
        let result = read("id", OptionValue::Text(text.clone()));
        let is_id = text == "01936b2e-7c1a-7d3e-9f10-0123456789ab";
        assert_eq!(result.is_ok(), is_id, "{text:?}");
        let result = read("reverts", OptionValue::Text(text.clone()));
        assert_eq!(result.is_ok(), is_id || text == "last" || text == "last-failed", "{text:?}");
        let result = read("client", OptionValue::Text(text.clone()));
        assert_eq!(result.is_ok(), text.len() <= 64 && !text.contains(char::is_control), "{text:?}");
    }
}
