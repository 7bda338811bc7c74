# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Compiled overlap of regions; `toolkit.utils._region_numpy` is the same in NumPy.

Both follow the rasterization rules written down in `toolkit.utils.region`, row by row: a pair of
regions costs time by its height, not by its area, and no memory.
"""

from libc.math cimport ceil, fabs, floor, isfinite, trunc
from libc.stdlib cimport free, malloc

# Regions taller than this many rows are squeezed before they are drawn, so that one runaway box
# cannot stall an evaluation; the overlap moves by about 1 / MAX_ROWS.
cdef double MAX_ROWS = 65536
cdef double MAX_COLUMNS = 1 << 30
cdef double FAR = <double>(1 << 30) * (1 << 30)  # keeps a node within a 64-bit integer

# Within these, columns and counted pixels of a pair fit into 32-bit integers.
cdef double SMALL = 1 << 30

ctypedef long long int64


cdef struct Box:
    double left, top, right, bottom


cdef struct Canvas:
    float x0, y0
    double width, height  # whole numbers, at least 1
    double scale_x, scale_y


cdef struct Edge:
    double x, y, dx, dy, low, high


cdef struct Outline:
    int num_edges
    double low, high  # first and last row
    bint simple  # two chains from top to bottom, so that a row has at most two crossings
    Edge* edges


cdef inline double round_away(double value) noexcept nogil:
    return floor(value + 0.5) if value >= 0 else ceil(value - 0.5)


cdef inline Box clipped(Box box, const float* bounds) noexcept nogil:
    """Clip to bounds given as top, bottom, left, right."""
    box.top = max(box.top, bounds[0])
    box.bottom = min(box.bottom, bounds[1])
    box.left = max(box.left, bounds[2])
    box.right = min(box.right, bounds[3])
    return box


cdef bint outer_box(const float* points, int n, const float* bounds, Box* box) noexcept nogil:
    """Whole-pixel box around a polygon, within the bounds; False for a non-finite vertex."""
    cdef int i
    cdef float left = points[0], right = points[0], top = points[1], bottom = points[1]
    for i in range(n):
        if not (isfinite(points[2 * i]) and isfinite(points[2 * i + 1])):
            return False
        left = min(left, points[2 * i])
        right = max(right, points[2 * i])
        top = min(top, points[2 * i + 1])
        bottom = max(bottom, points[2 * i + 1])
    box[0] = clipped(Box(floor(left), floor(top), ceil(right), ceil(bottom)), bounds)
    return True


cdef bint may_overlap(Box a, Box b) noexcept nogil:
    """False where the boxes alone decide for an overlap of 0."""
    cdef double area_a = (a.right - a.left) * (a.bottom - a.top)
    cdef double area_b = (b.right - b.left) * (b.bottom - b.top)
    cdef double inter, ratio
    if area_a / area_b < 1e-10 or area_b / area_a < 1e-10:
        return False
    inter = (min(a.right, b.right) - max(a.left, b.left)) * (
        min(a.bottom, b.bottom) - max(a.top, b.top)
    )
    ratio = inter / (area_a + area_b - inter)
    return not ratio <= 0  # NaN (two boxes without area) goes on to the drawing


cdef bint fit_canvas(Box a, Box b, Canvas* canvas) noexcept nogil:
    """Canvas that holds both boxes; False if it has no pixel or no finite size."""
    canvas.x0 = <float>min(a.left, b.left)
    canvas.y0 = <float>min(a.top, b.top)
    canvas.width = trunc(<float>(<float>max(a.right, b.right) - canvas.x0)) + 1
    canvas.height = trunc(<float>(<float>max(a.bottom, b.bottom) - canvas.y0)) + 1
    canvas.scale_x = canvas.scale_y = 1
    if not (canvas.width >= 1 and canvas.height >= 1):
        return False
    return isfinite(canvas.width) and isfinite(canvas.height)


cdef void squeeze(Canvas* canvas) noexcept nogil:
    if canvas.width > MAX_COLUMNS:
        canvas.scale_x = MAX_COLUMNS / canvas.width
        canvas.width = MAX_COLUMNS
    if canvas.height > MAX_ROWS:
        canvas.scale_y = MAX_ROWS / canvas.height
        canvas.height = MAX_ROWS


cdef void trace(const float* points, int n, Canvas canvas, Outline* outline) noexcept nogil:
    """List the non-horizontal edges of a polygon in whole canvas pixels."""
    cdef int i, m = 0
    cdef double x, y, last_x, last_y, reach = 0
    last_x = round_away(<float>(points[2 * n - 2] - canvas.x0) * canvas.scale_x)
    last_y = round_away(<float>(points[2 * n - 1] - canvas.y0) * canvas.scale_y)
    outline.low, outline.high = last_y, last_y
    for i in range(n):
        x = round_away(<float>(points[2 * i] - canvas.x0) * canvas.scale_x)
        y = round_away(<float>(points[2 * i + 1] - canvas.y0) * canvas.scale_y)
        outline.low = min(outline.low, y)
        outline.high = max(outline.high, y)
        reach = max(reach, max(fabs(x), fabs(y)))
        if y != last_y:
            outline.edges[m] = Edge(x, y, last_x - x, last_y - y, min(y, last_y), max(y, last_y))
            m += 1
        last_x, last_y = x, y
    outline.num_edges = m
    outline.simple = reach < SMALL and has_two_chains(outline)


cdef bint has_two_chains(Outline* outline) noexcept nogil:
    """Return whether the outline turns up or down only twice, without a level edge between."""
    cdef int i, turns = 0
    cdef Edge* edge
    cdef Edge* last
    if outline.num_edges == 0:
        return False
    last = &outline.edges[outline.num_edges - 1]
    for i in range(outline.num_edges):
        edge = &outline.edges[i]
        if (edge.dy > 0) != (last.dy > 0):
            turns += 1
        elif edge.x + edge.dx != last.x:
            return False
        last = edge
    return turns == 2


cdef int nodes_of_row(Outline* outline, double y, int64* nodes) noexcept nogil:
    """Sorted columns in which the outline crosses a row; returns how many."""
    cdef int i, k, m = 0
    cdef double x
    cdef int64 node
    cdef Edge* edge
    if y < outline.low or y > outline.high:
        return 0
    for i in range(outline.num_edges):
        edge = &outline.edges[i]
        if y < edge.low or y > edge.high:
            continue
        x = edge.x + (y - edge.y) / edge.dy * edge.dx
        node = <int64>(-FAR if x < -FAR else (FAR if x > FAR else x))
        k = m
        while k > 0 and nodes[k - 1] > node:
            nodes[k] = nodes[k - 1]
            k -= 1
        nodes[k] = node
        m += 1
    return m


cdef int spans_of_row(
    Outline* outline, double y, int64 width, int64* nodes, int64* spans, int64* pixels
) noexcept nogil:
    """Filled runs of a row as (first, last) column, apart from each other; returns how many."""
    cdef int i = 0, m = 0, count = nodes_of_row(outline, y, nodes)
    cdef int64 first, last, done = -1
    pixels[0] = 0
    while i < count - 1:
        if nodes[i] == nodes[i + 1]:
            i += 1
            continue
        first = max(nodes[i], done + 1)  # runs may share a column: count it once
        last = min(nodes[i + 1], width - 1)
        i += 2
        if first > last:
            continue
        spans[2 * m] = first
        spans[2 * m + 1] = last
        pixels[0] += last - first + 1
        done = last
        m += 1
    return m


cdef int64 shared_pixels(const int64* a, int num_a, const int64* b, int num_b) noexcept nogil:
    cdef int i, j
    cdef int64 first, last, total = 0
    for i in range(num_a):
        for j in range(num_b):
            first = max(a[2 * i], b[2 * j])
            last = min(a[2 * i + 1], b[2 * j + 1])
            if first <= last:
                total += last - first + 1
    return total


cdef void mark_edge(Edge* edge, int first, int last, int* nodes) noexcept nogil:
    """Set the columns in which an edge crosses the rows first to last, both included."""
    cdef int y
    cdef double x0 = edge.x, y0 = edge.y, dx = edge.dx, dy = edge.dy
    for y in range(first, last + 1):
        nodes[y] = <int>(x0 + (y - y0) / dy * dx)


cdef int mark_runs(
    Outline* outline, int first, int last, int width, int* left, int* right
) noexcept nogil:
    """Set the filled run of each row of a simple outline; returns the number of pixels.

    Both ends of an edge lie on its vertices exactly, so that a vertex within a chain gives one
    column, whichever of its edges is drawn last. A run that ends before it starts is none.
    """
    cdef int i, y, low, high, pixels = 0
    cdef Edge* edge
    for i in range(outline.num_edges):
        edge = &outline.edges[i]
        mark_edge(
            edge, max(first, <int>edge.low), min(last, <int>edge.high),
            left if edge.dy > 0 else right,
        )
    for y in range(first, last + 1):
        low = max(min(left[y], right[y]), 0)
        high = min(max(left[y], right[y]), width - 1)
        high = low - 1 if left[y] == right[y] else high
        left[y], right[y] = low, high
        pixels += max(high - low + 1, 0)
    return pixels


cdef float simple_overlap(Outline* a, Outline* b, Canvas canvas, int* rows) noexcept nogil:
    """The same as `drawn_overlap` of two simple outlines, a loop at a time over all rows."""
    cdef int y, inter = 0, total
    cdef int height = <int>canvas.height, width = <int>canvas.width
    cdef int first_a = <int>max(0.0, a.low), last_a = <int>min(canvas.height - 1, a.high)
    cdef int first_b = <int>max(0.0, b.low), last_b = <int>min(canvas.height - 1, b.high)
    cdef int* left_a = rows
    cdef int* right_a = rows + height
    cdef int* left_b = rows + 2 * height
    cdef int* right_b = rows + 3 * height
    total = mark_runs(a, first_a, last_a, width, left_a, right_a)
    total += mark_runs(b, first_b, last_b, width, left_b, right_b)
    for y in range(max(first_a, first_b), min(last_a, last_b) + 1):
        inter += max(min(right_a[y], right_b[y]) - max(left_a[y], left_b[y]) + 1, 0)
    return <float>((<double>inter) / (<double>(total - inter)))


cdef float drawn_overlap(Outline* a, Outline* b, Canvas canvas, int64* work, int n) noexcept nogil:
    """Draw both outlines row by row; shared over all pixels, NaN where nothing is drawn."""
    cdef int64 inter = 0, total = 0, pixels
    cdef int64 width = <int64>canvas.width
    cdef int64* spans_a = work + n
    cdef int64* spans_b = work + 2 * n
    cdef int num_a, num_b
    cdef double y = max(0.0, min(a.low, b.low))
    cdef double end = min(canvas.height - 1, max(a.high, b.high))
    while y <= end:
        num_a = spans_of_row(a, y, width, work, spans_a, &pixels)
        total += pixels
        num_b = spans_of_row(b, y, width, work, spans_b, &pixels)
        total += pixels
        inter += shared_pixels(spans_a, num_a, spans_b, num_b)
        y += 1
    return <float>((<double>inter) / (<double>(total - inter)))


def polygon_overlaps(
    const float[:, ::1] polygons1,
    const float[:, ::1] polygons2,
    const float[::1] bounds,
    float[::1] out,
):
    """Overlap of polygons pair by pair; see `toolkit.utils._region_numpy.polygon_overlaps`."""
    cdef Py_ssize_t i
    cdef int n1 = <int>(polygons1.shape[1] // 2), n2 = <int>(polygons2.shape[1] // 2)
    cdef int n = max(n1, n2) + 1
    cdef Box box1, box2
    cdef Canvas canvas
    cdef Outline a, b
    cdef Edge* edges = <Edge*>malloc(2 * n * sizeof(Edge))
    cdef int64* work = <int64*>malloc(3 * n * sizeof(int64))
    cdef int* rows = <int*>malloc(<size_t>(4 * MAX_ROWS) * sizeof(int))
    if edges == NULL or work == NULL or rows == NULL:
        free(edges)
        free(work)
        free(rows)
        raise MemoryError()
    a.edges, b.edges = edges, edges + n
    with nogil:
        for i in range(polygons1.shape[0]):
            out[i] = 0
            if not outer_box(&polygons1[i, 0], n1, &bounds[0], &box1):
                continue
            if not outer_box(&polygons2[i, 0], n2, &bounds[0], &box2):
                continue
            if not may_overlap(box1, box2):
                continue
            if not fit_canvas(box1, box2, &canvas):
                continue
            squeeze(&canvas)
            trace(&polygons1[i, 0], n1, canvas, &a)
            trace(&polygons2[i, 0], n2, canvas, &b)
            if a.simple and b.simple and canvas.width * canvas.height < SMALL:
                out[i] = simple_overlap(&a, &b, canvas, rows)
            else:
                out[i] = drawn_overlap(&a, &b, canvas, work, n)
    free(edges)
    free(work)
    free(rows)


cdef Box drawn_rect(Box box, Canvas canvas) noexcept nogil:
    """First and last column and row that a rectangle fills; empty ones end before they start."""
    cdef double left = round_away(<float>(<float>box.left - canvas.x0))
    cdef double right = round_away(<float>(<float>box.right - canvas.x0))
    cdef double top = round_away(<float>(<float>box.top - canvas.y0))
    cdef double bottom = round_away(<float>(<float>box.bottom - canvas.y0))
    if left == right or top == bottom:
        return Box(0, 0, -1, -1)
    return Box(
        max(left, 0.0), max(top, 0.0),
        min(right, canvas.width - 1), min(bottom, canvas.height - 1),
    )


cdef inline double pixels_of(Box box) noexcept nogil:
    return max(box.right - box.left + 1, 0.0) * max(box.bottom - box.top + 1, 0.0)


cdef bint corners_of(const double* rect, Box* box) noexcept nogil:
    """Corners of x, y, w, h in single precision, sorted; False for a non-finite one."""
    cdef float x = <float>rect[0], y = <float>rect[1]
    cdef float right = <float>(rect[0] + rect[2]), bottom = <float>(rect[1] + rect[3])
    if not (isfinite(x) and isfinite(y) and isfinite(right) and isfinite(bottom)):
        return False
    box[0] = Box(min(x, right), min(y, bottom), max(x, right), max(y, bottom))
    return True


cdef float rect_overlap(Box rect1, Box rect2, const float* bounds) noexcept nogil:
    """The drawn overlap of two upright rectangles in closed form."""
    cdef Box box1, box2, a, b
    cdef Canvas canvas
    cdef double inter
    box1 = Box(floor(rect1.left), floor(rect1.top), ceil(rect1.right), ceil(rect1.bottom))
    box2 = Box(floor(rect2.left), floor(rect2.top), ceil(rect2.right), ceil(rect2.bottom))
    box1, box2 = clipped(box1, bounds), clipped(box2, bounds)
    if not may_overlap(box1, box2):
        return 0
    if not fit_canvas(box1, box2, &canvas):
        return 0
    a, b = drawn_rect(rect1, canvas), drawn_rect(rect2, canvas)
    inter = pixels_of(Box(
        max(a.left, b.left), max(a.top, b.top), min(a.right, b.right), min(a.bottom, b.bottom)
    ))
    return <float>(inter / (pixels_of(a) + pixels_of(b) - inter))


def rect_overlaps(
    const double[:, ::1] rects1,
    const double[:, ::1] rects2,
    const float[::1] bounds,
    float[::1] out,
):
    """Overlap of rectangles pair by pair; see `toolkit.utils._region_numpy.rect_overlaps`."""
    cdef Py_ssize_t i
    cdef Box a, b
    with nogil:
        for i in range(rects1.shape[0]):
            out[i] = 0
            if corners_of(&rects1[i, 0], &a) and corners_of(&rects2[i, 0], &b):
                out[i] = rect_overlap(a, b, &bounds[0])
