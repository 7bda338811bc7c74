# The command pysot in a small image, on the CPU and without windows:
#     docker build -t pysot .
#     docker run --rm -u "$(id -u)" -v "$PWD:/data" pysot demo --video clip.mp4 --init-rect 10,20,50,40 --output out.mp4
# For a GPU: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126, and docker run --gpus all.
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# opencv-python, which the wheel asks for, needs libraries of a desktop; opencv-python-headless is
# the same module without windows. One overwrites the other, so there must be one alone.
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir torch --index-url "$TORCH_INDEX" \
    && pip install --no-cache-dir "$(echo /wheels/*.whl)[masks,plot,report,video,web]" \
    && pip uninstall --yes opencv-python \
    && pip install --no-cache-dir opencv-python-headless
# for any user that `docker run -u` names
ENV PYSOT_HOME=/cache MPLCONFIGDIR=/tmp
RUN mkdir -m 1777 /cache
USER nobody
WORKDIR /data
ENTRYPOINT ["pysot"]
CMD ["doctor"]
