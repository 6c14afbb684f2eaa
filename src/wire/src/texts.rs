//! What in a document is for people only, and may go without the document saying something else.

use crate::{plan, request};

/// Whether two requests ask for the same, whatever their comments say.
#[must_use]
pub fn same_request(before: &[u8], after: &[u8]) -> bool {
    let read = |bytes: &[u8]| {
        let mut request = request::from_bytes(bytes).ok()?;
        request.description.clear();
        Some(request)
    };
    read(before).is_some_and(|before| read(after) == Some(before))
}

/// Whether two plans do the same, whatever their warnings say.
#[must_use]
pub fn same_plan(before: &[u8], after: &[u8]) -> bool {
    let read = |bytes: &[u8]| {
        let mut plan = plan::from_bytes(bytes).ok()?;
        plan.warnings.iter_mut().for_each(String::clear);
        Some(plan)
    };
    read(before).is_some_and(|before| read(after) == Some(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstep_core::{Digest, Kind, Method, Options, Plan, Request, Tags};

    #[test]
    fn a_comment_may_differ_and_nothing_else() {
        let tagged = |kind, description: &str, tags: &[&str]| {
            let description = description.to_owned();
            let none = (Vec::new(), Vec::new());
            request::to_bytes(&Request {
                kind,
                description,
                tags: Tags::new(tags).expect("tags"),
                items: none.0,
                archives: none.1,
                reverts: None,
                retries: None,
                options: Options::default(),
            })
        };
        let asked = |kind, description: &str| tagged(kind, description, &["env=prod"]);
        let before = asked(Kind::Upgrade, "for Ana");
        assert!(same_request(&before, &asked(Kind::Upgrade, "for [redacted 3]")));
        assert!(!same_request(&before, &asked(Kind::Update, "for Ana")));
        assert!(!same_request(&before, &tagged(Kind::Upgrade, "for Ana", &["env=test"])));
        assert!(!same_request(&before, b"{}") && !same_request(b"{}", b"{}"));
    }

    #[test]
    fn a_plan_s_warnings_may_differ_and_nothing_else() {
        let planned = |world: u8, warning: &str| {
            plan::to_bytes(&Plan {
                transaction: "01936b2e-7c1a-7d3e-9f10-0123456789ab".parse().expect("id"),
                kind: Kind::Update,
                request: Digest([1; 32]),
                world: Digest([world; 32]),
                method: Method::Packages,
                options: Options::default(),
                items: Vec::new(),
                marks: Vec::new(),
                restores: Vec::new(),
                download_bytes: 0,
                warnings: vec![warning.to_owned()],
            })
        };
        assert!(same_plan(&planned(2, "Ana is logged in"), &planned(2, "[redacted 3] is logged in")));
        assert!(!same_plan(&planned(2, ""), &planned(3, "")));
    }
}
