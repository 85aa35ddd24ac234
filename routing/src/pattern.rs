//! URL patterns as Django's `path()` writes them: text with `{name}` and `{name:converter}` in it.

use std::fmt::Write;

use regex::Regex;

/// What Django's converters match; `str` is the default.
const CONVERTERS: [(&str, &str); 5] = [
    ("str", "[^/]+"),
    ("int", "[0-9]+"),
    ("slug", "[-a-zA-Z0-9_]+"),
    ("uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    ("path", ".+"),
];

/// A compiled pattern, which matches at the start of a path.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    ends_with_slash: bool,
}

/// The parameters of a route with their values, in the order of the pattern.
pub(crate) type Params = Vec<(Box<str>, Box<str>)>;

impl Pattern {
    /// Compiles a pattern; the error says what is wrong with it.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let mut source = String::from("^/?");
        let mut rest = pattern.strip_prefix('/').unwrap_or(pattern);
        while let Some((text, after)) = rest.split_once('{') {
            source.push_str(&regex::escape(text));
            let (parameter, after) = after.split_once('}').ok_or("a `{` has no `}`")?;
            let (name, converter) = parameter.split_once(':').unwrap_or((parameter, "str"));
            let known = CONVERTERS.iter().find(|(known, _)| *known == converter);
            let (_, regex) = known.ok_or_else(|| format!("there is no converter {converter:?}"))?;
            write!(source, "(?<{name}>{regex})").map_err(|error| error.to_string())?;
            rest = after;
        }
        source.push_str(&regex::escape(rest));
        let regex = Regex::new(&source).map_err(|error| error.to_string())?;
        Ok(Self { regex, ends_with_slash: pattern.is_empty() || pattern.ends_with('/') })
    }

    /// How many bytes at the start of a path it matches, up to the end of a segment.
    pub(crate) fn matches(&self, path: &str) -> Option<usize> {
        let bytes = self.regex.find(path)?.end();
        let rest = &path[bytes..];
        (rest.is_empty() || self.ends_with_slash || rest.starts_with('/')).then_some(bytes)
    }

    /// The parameters in a path that it matches. Apart from the match, which is asked for more often and costs less.
    pub(crate) fn params(&self, path: &str) -> Params {
        if self.regex.captures_len() == 1 {
            return Params::new();
        }
        let Some(captures) = self.regex.captures(path) else { return Params::new() };
        let names = self.regex.capture_names().flatten();
        names.filter_map(|name| Some((name.into(), captures.name(name)?.as_str().into()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest of the path and the parameters, or "no".
    fn check(pattern: &str, path: &str, expected: &str) {
        let compiled = Pattern::new(pattern).unwrap();
        let shown = compiled.matches(path).map_or_else(
            || "no".to_owned(),
            |bytes| {
                let params = compiled.params(path);
                let params = params.iter().map(|(name, value)| format!(" {name}={value}"));
                format!("{:?}{}", &path[bytes..], params.collect::<String>())
            },
        );
        assert_eq!(shown, expected, "{pattern} on {path}");
    }

    #[test]
    fn text_and_parameters_match_as_in_django() {
        check("/ws/", "/ws/", r#""""#);
        check("ws/", "/ws/", r#""""#);
        check("/ws/chat/{room}/", "/ws/chat/lobby/", r#""" room=lobby"#);
        check("/ws/chat/{room}/", "/ws/chat/a/b/", r#""b/" room=a"#);
        check("/ws/chat/{room}/", "/ws/chat//", "no");
        check("/ws/chat/{room}/", "/ws/chat/lobby", "no");
        check("/o/{id:int}/", "/o/12/", r#""" id=12"#);
        check("/o/{id:int}/", "/o/x/", "no");
        check("/s/{s:slug}", "/s/a-B_9", r#""" s=a-B_9"#);
        check("/f/{rest:path}", "/f/a/b/c", r#""" rest=a/b/c"#);
        check("/{a}-{b}/", "/x-y-z/", r#""" a=x-y b=z"#);
        let uuid = "/u/0b9d1f6e-8a5c-4f0e-9a53-0123456789ab";
        check("/u/{u:uuid}", uuid, r#""" u=0b9d1f6e-8a5c-4f0e-9a53-0123456789ab"#);
        check("/a.b/", "/axb/", "no");
        check("/été/{x}", "/été/ü", r#""" x=ü"#);
    }

    #[test]
    fn a_prefix_ends_where_a_segment_ends() {
        check("/ws/", "/ws/chat/", r#""chat/""#);
        check("/ws", "/ws/chat/", r#""/chat/""#);
        check("/ws", "/wschat/", "no");
        check("", "/anything", r#""anything""#);
    }

    #[test]
    fn a_broken_pattern_says_what_is_wrong() {
        for (pattern, hint) in [
            ("/{id", "`}`"),
            ("/{id:float}", "float"),
            ("/{a}/{a}", "duplicate"),
            ("/{a b}", "capture group"),
        ] {
            let error = Pattern::new(pattern).unwrap_err();
            assert!(error.contains(hint), "{pattern}: {error}");
        }
    }
}
