//! Draws: connections per second over time as SVG, on a logarithmic axis.

use core::fmt;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 480;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 940.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 370.0;
/// Seconds shown before and after the end of the outage.
const BEFORE_S: f64 = 30.0;
const AFTER_S: f64 = 600.0;
/// Powers of ten on the axis.
const DECADES: u32 = 5;
/// Told apart by people who do not see all colours, and by their dashes.
const LOOKS: [(&str, &str, f64); 5] = [
    ("#000000", "none", 2.2),
    ("#777777", "4 2", 1.2),
    ("#d55e00", "none", 1.2),
    ("#cc79a7", "6 3", 1.2),
    ("#0072b2", "none", 1.2),
];

/// One line of the picture.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    /// Connections in each second since the outage began.
    pub(crate) values: Vec<u32>,
}

/// One picture.
pub(crate) struct Plot {
    pub(crate) title: String,
    /// The second in which the outage ends.
    pub(crate) zero_at: usize,
    pub(crate) capacity: u32,
    pub(crate) curves: Vec<Curve>,
}

impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"14\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>"
        )?;
        text(f, LEFT, 30.0, "start\" font-size=\"17", &self.title)?;
        axes(f)?;
        self.capacity_line(f)?;
        // The first one is what it is about: on top of the others.
        for (curve, look) in self.curves.iter().zip(LOOKS).rev() {
            self.line(f, curve, look)?;
        }
        for (number, (curve, look)) in (0_u32..).zip(self.curves.iter().zip(LOOKS)) {
            legend(f, number, curve.name, look)?;
        }
        writeln!(f, "</svg>")
    }
}

impl Plot {
    fn capacity_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = y(f64::from(self.capacity));
        stroke(f, (LEFT, level), (RIGHT, level), "#009e73")?;
        let label = format!("capacity {}/s", self.capacity);
        text(
            f,
            RIGHT - 4.0,
            level - 6.0,
            "end\" fill=\"#007a5a\" stroke=\"#ffffff\" stroke-width=\"4\" paint-order=\"stroke",
            &label,
        )
    }

    fn line(
        &self,
        f: &mut fmt::Formatter<'_>,
        curve: &Curve,
        (colour, dashes, width): (&str, &str, f64),
    ) -> fmt::Result {
        write!(
            f,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
             stroke-dasharray=\"{dashes}\" stroke-linejoin=\"round\" points=\""
        )?;
        let mut seconds = -BEFORE_S;
        while seconds < AFTER_S {
            let value = self.value(curve, seconds);
            write!(f, "{:.1},{:.1} ", x(seconds), y(value))?;
            seconds += 1.0;
        }
        writeln!(f, "\"/>")
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "some thousand seconds, none of them negative"
    )]
    fn value(&self, curve: &Curve, seconds: f64) -> f64 {
        let second = self.zero_at as f64 + seconds;
        if second < 0.0 {
            return 0.0;
        }
        curve
            .values
            .get(second as usize)
            .copied()
            .unwrap_or(0)
            .into()
    }
}

fn axes(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for power in 0..=DECADES {
        let value = 10_u32.pow(power);
        let level = y(f64::from(value));
        stroke(f, (LEFT, level), (RIGHT, level), "#dddddd")?;
        text(f, LEFT - 8.0, level + 5.0, "end", &value.to_string())?;
    }
    for step in 0..=10_u32 {
        let seconds = f64::from(step * 60);
        stroke(f, (x(seconds), TOP), (x(seconds), BOTTOM), "#eeeeee")?;
        text(f, x(seconds), BOTTOM + 20.0, "middle", &seconds.to_string())?;
    }
    stroke(f, (x(0.0), TOP), (x(0.0), BOTTOM), "#888888")?;
    text(f, x(0.0) + 4.0, TOP - 6.0, "start", "the proxy is back")?;
    let middle = f64::midpoint(LEFT, RIGHT);
    text(
        f,
        middle,
        BOTTOM + 42.0,
        "middle",
        "seconds since the end of the outage",
    )?;
    writeln!(
        f,
        "<text transform=\"translate(20 {:.1}) rotate(-90)\" text-anchor=\"middle\">\
         connections in each second</text>",
        f64::midpoint(TOP, BOTTOM)
    )
}

fn legend(
    f: &mut fmt::Formatter<'_>,
    number: u32,
    name: &str,
    (colour, dashes, width): (&str, &str, f64),
) -> fmt::Result {
    let left = LEFT + 172.0 * f64::from(number);
    let level = BOTTOM + 76.0;
    writeln!(
        f,
        "<line x1=\"{left:.1}\" y1=\"{level:.1}\" x2=\"{:.1}\" y2=\"{level:.1}\" \
         stroke=\"{colour}\" stroke-width=\"{}\" stroke-dasharray=\"{dashes}\"/>",
        left + 30.0,
        width + 0.8
    )?;
    text(f, left + 38.0, level + 5.0, "start", name)
}

fn stroke(
    f: &mut fmt::Formatter<'_>,
    from: (f64, f64),
    to: (f64, f64),
    colour: &str,
) -> fmt::Result {
    writeln!(
        f,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    )
}

/// `anchor` may go on with more attributes.
fn text(f: &mut fmt::Formatter<'_>, x: f64, y: f64, anchor: &str, text: &str) -> fmt::Result {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(
        f,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    )
}

fn x(seconds: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * (seconds + BEFORE_S) / (AFTER_S + BEFORE_S)
}

/// None at all is drawn where one is.
fn y(value: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * value.max(1.0).log10() / f64::from(DECADES)
}
